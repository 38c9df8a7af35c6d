from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from tests.support.asking import LATER_NS, with_client
from tests.support.fakes.fake_text import COUNTS
from trtbench.client.kserve.family import TIME_OUTPUTS
from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.messages import Response, decode_response, request_body
from trtbench.client.kserve.responses import without_echo
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.protocol import NO_END_ID, Limits, TargetError
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord, ServerTimes
from trtbench.scenario.workload.workload import Sampling, Workload
from trtbench.system.clock import now_ns

PROMPT = PlannedPrompt(np.array([1, 2, 3, 4], np.int32), 5, 9, text="a b c d")


def _ask(url: str, model: str, prompt: PlannedPrompt = PROMPT, workload: Workload | None = None) -> RequestRecord:
    target = inspect_target(url, model)
    record = RequestRecord(0, "c1", False, 0, len(prompt.input_ids), prompt.output_tokens, now_ns())

    async def body(client: Any) -> None:
        await client.send_request(record, client.encode_request(prompt), Limits(now_ns() + LATER_NS))

    with_client(target, False, body, workload=workload)
    assert record.outcome is Outcome.COMPLETED, record.error
    return record


def _sent(target: KserveTarget, workload: Workload | None = None) -> tuple[Any, dict[str, Any]]:
    request = service_pb2.ModelInferRequest.FromString(request_body(target, PROMPT, workload or Workload(), NO_END_ID))
    return request, {tensor.name: (tensor, raw) for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)}


@pytest.mark.parametrize(
    ("model", "family", "counts", "input_counts", "seed"),
    [
        ("tensorrt_llm", "ids", "ids", "ids", "seed"),
        ("old", "ids", "ids", "ids", "random_seed"),
        ("ensemble", "text", "server", "server", "seed"),
        ("ensemble_0.19", "text", None, "tokenizer", "random_seed"),
        ("llmapi", "llmapi", None, "tokenizer", "sampling_param_seed"),
    ],
)
def test_the_family_is_found_by_the_tensors(
    fake_server: Any, model: str, family: str, counts: str | None, input_counts: str, seed: str
) -> None:
    target = inspect_target(fake_server.url, model)
    facts = target.token_facts()
    assert (facts["family"], facts["token_counts"], facts["input_counts"]) == (family, counts, input_counts)
    assert target.input_name("seed") == seed and facts["forces_length"] == (family != "llmapi")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("odd", "takes max_tokens as FP32, but TensorRT-LLM's models take it as INT32"),
        ("llmapi_batched", "max_batch_size 8, but an llmapi model of TensorRT-LLM's takes one prompt.*max_batch_size: 0 in its model.yaml"),
    ],
)
def test_a_model_of_another_make_is_refused(fake_server: Any, model: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        inspect_target(fake_server.url, model)


def test_an_ensemble_is_asked_by_its_own_names(fake_server: Any) -> None:
    target = inspect_target(fake_server.url, "ensemble")
    request, inputs = _sent(target)
    tensor, raw = inputs["text_input"]
    assert (tensor.datatype, list(tensor.shape), raw) == ("BYTES", [1, 1], struct.pack("<I", 7) + b"a b c d")
    assert {"max_tokens", "stream", "exclude_input_in_output", "return_num_output_tokens", "return_num_input_tokens"} <= set(inputs)
    assert not {"streaming", "input_ids", "request_output_len"} & set(inputs)
    assert {output.name for output in request.outputs} == {
        "text_output",
        "num_output_tokens",
        "num_input_tokens",
        *TIME_OUTPUTS,
        *COUNTS["ensemble"],
    }


def test_llmapi_is_asked_by_its_own_names_without_a_batch_dimension(fake_server: Any) -> None:
    _, inputs = _sent(inspect_target(fake_server.url, "llmapi"), Workload(sampling=Sampling(temperature=0.5)))
    assert list(inputs["text_input"][0].shape) == [1] and list(inputs["sampling_param_max_tokens"][0].shape) == [1]
    assert set(inputs) == {
        "text_input",
        "streaming",
        "sampling_param_max_tokens",
        "sampling_param_seed",
        "sampling_param_exclude_input_from_output",
        "sampling_param_return_perf_metrics",
        "return_finish_reason",
    }


def test_tokens_of_an_ensemble_are_as_many_as_it_says(fake_server: Any) -> None:
    record = _ask(fake_server.url, "ensemble")
    assert record.token_counts == [1] * 5 and len(record.token_ns) == 5 and record.output_ids == []
    assert record.input_tokens == 4 and record.counts_tokens and record.echoed_tokens == 0
    assert record.server and record.server.first_token_ns - record.server.first_scheduled_ns == 2000


@pytest.mark.parametrize("model", ["ensemble_0.19", "llmapi"])
def test_tokens_that_nobody_counts_are_not_guessed(fake_server: Any, model: str) -> None:
    record = _ask(fake_server.url, model)
    assert record.token_counts == [0] * 5 and len(record.token_ns) == 5
    assert not record.counts_tokens and record.output_tokens == 0
    assert record.server and record.server.last_token_ns - record.server.first_token_ns == 4000


@pytest.mark.parametrize(("model", "ended"), [("ensemble_0.19", ""), ("llmapi", "length")])
def test_text_that_nobody_counts_is_kept_once_whatever_each_response_carries(fake_server: Any, model: str, ended: str) -> None:
    """One sends pieces, the other all the text so far."""
    record = _ask(fake_server.url, model)
    assert (record.output_text, record.finish_reason) == (" w0 w2 w3 w4", ended)
    assert _ask(fake_server.url, "ensemble").output_text == "", "what the server counts need not be kept"


@pytest.mark.parametrize("streaming", [True, False])
def test_echoed_ids_are_taken_off_and_counted(fake_server: Any, streaming: bool) -> None:
    record = _ask(fake_server.url, "ids_echo", workload=Workload(streaming=streaming))
    assert record.output_ids == [100, 101, 102, 103, 104]
    assert (record.echoed_tokens, record.output_tokens) == (4, 5)
    assert record.token_counts == ([1] * 5 if streaming else [5])


def test_an_echoed_text_is_taken_off_the_count(fake_server: Any) -> None:
    record = _ask(fake_server.url, "ensemble_echo")
    assert (record.token_counts, record.echoed_tokens) == ([1] * 5, 4)


IDS = KserveTarget("x:1", "m", "", 8, "", frozenset({"input_ids", "input_lengths", "request_output_len", "streaming"}), frozenset())
TELLS = replace(IDS, inputs=IDS.inputs | {"exclude_input_in_output"})
few = st.lists(st.integers(0, 3), min_size=1, max_size=6)


@given(few, few, st.booleans(), st.booleans())
def test_what_is_left_is_the_output(prompt: list[int], output: list[int], echoes: bool, streaming: bool) -> None:
    """Whole answers: an echo makes them longer than was asked, and that alone tells where the model was told to leave it out."""
    planned = PlannedPrompt(np.array(prompt, np.int32), len(output), 0)
    body = request_body(TELLS, planned, Workload(streaming=streaming), NO_END_ID)
    record = RequestRecord(0, "c1", False, 0, len(prompt), len(output), 0)
    response = Response(tokens=[*(prompt if echoes else []), *output])
    if streaming and not echoes and len(prompt) >= 4:
        return  # so many at once in a stream that begins like the prompt: taken for an echo
    left = without_echo(response, body, record)
    assert (list(left.tokens), record.echoed_tokens) == (output, len(prompt) if echoes else 0)


def test_an_answer_that_begins_with_the_prompt_is_taken_as_its_echo_where_the_model_is_unknown() -> None:
    planned = PlannedPrompt(np.array([5, 6], np.int32), 9, 0)
    record = RequestRecord(0, "c1", False, 0, 2, 9, 0)
    left = without_echo(Response(tokens=[5, 6, 7]), request_body(IDS, planned, Workload(), NO_END_ID), record)
    assert (list(left.tokens), record.echoed_tokens) == ([7], 2)
    assert not without_echo(Response(tokens=[5, 6]), request_body(IDS, planned, Workload(), NO_END_ID), record).carries


def _strings(values: list[object]) -> bytes:
    message = service_pb2.ModelStreamInferResponse()
    for name, value in zip(TIME_OUTPUTS, values, strict=True):
        text = json.dumps(value).encode()
        message.infer_response.outputs.add(name=name, datatype="BYTES", shape=[1])
        message.infer_response.raw_output_contents.append(struct.pack("<I", len(text)) + text)
    return bytes(message.SerializeToString())


@given(st.integers(1, 2**62), st.lists(st.integers(0, 10**13), min_size=4, max_size=4).map(sorted), st.booleans())
def test_times_in_strings_are_read_exactly(start: int, later: list[int], listed: bool) -> None:
    values = [start + after for after in later]
    assert decode_response(_strings([[value] if listed else value for value in values])).times == ServerTimes(*values)


@pytest.mark.parametrize("values", [[0, 0, 0, 0], [1, 2, 3, "x"], [1, 2, 3, None], [1, 2, 3, []]])
def test_times_that_are_none_are_none(values: list[object]) -> None:
    assert decode_response(_strings(values)).times is None


@given(st.binary(max_size=30))
def test_a_text_of_any_bytes_is_read_or_refused(raw: bytes) -> None:
    message = service_pb2.ModelStreamInferResponse()
    message.infer_response.outputs.add(name="text_output", datatype="BYTES", shape=[1])
    message.infer_response.raw_output_contents.append(raw)
    try:
        response = decode_response(message.SerializeToString())
    except ValueError:
        return
    assert response.text is not None and response.tokens == ()


VLLM = KserveTarget(
    url="h:1",
    model="m",
    version="",
    max_batch_size=0,
    triton_version="",
    inputs=frozenset({"text_input", "stream", "sampling_parameters", "exclude_input_in_output", "return_num_output_tokens"}),
    outputs=frozenset({"text_output", "num_output_tokens"}),
)


def test_the_vllm_backend_takes_length_and_sampling_as_json() -> None:
    def asked(workload: Workload, end_id: int = NO_END_ID) -> dict[str, Any]:
        request = service_pb2.ModelInferRequest.FromString(request_body(VLLM, PROMPT, workload, end_id))
        raw = {tensor.name: (list(tensor.shape), data) for tensor, data in zip(request.inputs, request.raw_input_contents, strict=True)}
        assert set(raw) == VLLM.inputs and all(shape == [1] for shape, _ in raw.values())
        found: dict[str, Any] = json.loads(raw["sampling_parameters"][1][4:])
        return found

    greedy = {"max_tokens": 5, "temperature": 0.0, "ignore_eos": True, "min_tokens": 5}
    assert asked(Workload()) == greedy
    drawn = asked(Workload(sampling=Sampling(temperature=0.5, top_k=4)), end_id=2)
    assert drawn == {"max_tokens": 5, "temperature": 0.5, "top_p": 1.0, "top_k": 4, "seed": 9}
    facts = VLLM.token_facts()
    assert (facts["family"], facts["token_counts"], facts["forces_length"]) == ("vllm", "server", True)
