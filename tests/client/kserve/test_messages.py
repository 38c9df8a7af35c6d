from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from trtbench.client.kserve.family import TIME_OUTPUTS
from trtbench.client.kserve.messages import Response, decode_response, request_body, with_request_id
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.protocol import NO_END_ID
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.deployment_facts import ServedClass
from trtbench.rundir.records import ServerTimes
from trtbench.scenario.workload.workload import Sampling, Workload

INPUTS = {"input_ids", "input_lengths", "request_output_len", "end_id", "streaming", "exclude_input_in_output", "return_perf_metrics"}
SAMPLING = {"temperature", "runtime_top_k", "runtime_top_p", "seed"}
OUTPUTS = {"output_ids", "sequence_length", *TIME_OUTPUTS}
NEW = KserveTarget("127.0.0.1:1", "tensorrt_llm", "", 8, "2.51.0", frozenset(INPUTS | SAMPLING), frozenset(OUTPUTS))
OLD = KserveTarget(
    "127.0.0.1:1",
    "tensorrt_llm",
    "2",
    0,
    "2.40.0",
    frozenset((INPUTS | SAMPLING | {"random_seed"}) - {"return_perf_metrics", "seed"}),
    frozenset({"output_ids", "sequence_length"}),
)
DTYPES = {"INT32": np.int32, "UINT64": np.uint64, "FP32": np.float32, "BOOL": np.bool_, "INT64": np.int64}
tokens = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40)


def prompt(*ids: int, output_tokens: int = 7, seed: int = 5) -> PlannedPrompt:
    return PlannedPrompt(np.array(ids, np.int32), output_tokens, seed)


def sent(body: bytes) -> tuple[Any, dict[str, Any]]:
    """The request as a server reads it, and its inputs by name."""
    request = service_pb2.ModelInferRequest.FromString(body)
    arrays = {
        tensor.name: np.frombuffer(raw, DTYPES[tensor.datatype]).reshape(tensor.shape)
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    }
    return request, arrays


def response_bytes(ids: list[int], length: int | None = None, final: bool | None = False, times: tuple[int, ...] = ()) -> bytes:
    message = service_pb2.ModelStreamInferResponse()
    infer = message.infer_response
    infer.model_name, infer.model_version = "tensorrt_llm", "3"
    if final is not None:
        infer.parameters["triton_final_response"].bool_param = final
    tensors = [("output_ids", np.array(ids, np.int32))]
    if length is not None:
        tensors.append(("sequence_length", np.array([length], np.int32)))
    tensors += [(name, np.array([value], np.int64)) for name, value in zip(TIME_OUTPUTS, times, strict=False)]
    for name, data in reversed(tensors):  # the order is the server's affair
        infer.outputs.add(name=name, datatype=str(data.dtype).upper(), shape=[1, 1, data.size])
        infer.raw_output_contents.append(data.tobytes())
    return bytes(message.SerializeToString())


def test_a_greedy_request_as_the_server_reads_it() -> None:
    request, inputs = sent(request_body(NEW, prompt(11, 12, 13), Workload(), NO_END_ID))
    assert (request.model_name, request.model_version) == ("tensorrt_llm", "")
    assert request.parameters["triton_enable_empty_final_response"].bool_param
    assert {name: array.tolist() for name, array in inputs.items()} == {
        "input_ids": [[11, 12, 13]],
        "input_lengths": [[3]],
        "request_output_len": [[7]],
        "end_id": [[-1]],
        "streaming": [[True]],
        "exclude_input_in_output": [[True]],
        "runtime_top_k": [[1]],
        "return_perf_metrics": [[True]],
    }
    assert {output.name for output in request.outputs} == OUTPUTS


@given(tokens, tokens)
def test_a_context_comes_before_the_prompts_own_ids(context: list[int], ids: list[int]) -> None:
    _, inputs = sent(request_body(NEW, prompt(*ids), Workload(), NO_END_ID, context))
    assert inputs["input_ids"].tolist() == [context + ids] and inputs["input_lengths"].tolist() == [[len(context) + len(ids)]]


def test_a_priority_is_an_integer_parameter_and_none_is_none() -> None:
    first, _ = sent(request_body(NEW, replace(prompt(1), priority=1), Workload(), NO_END_ID))
    assert first.parameters["priority"].WhichOneof("parameter_choice") == "int64_param" and first.parameters["priority"].int64_param == 1
    plain, _ = sent(request_body(NEW, prompt(1), Workload(), NO_END_ID))
    assert "priority" not in plain.parameters


def test_sampling_sends_its_parameters_and_the_prompts_seed() -> None:
    _, inputs = sent(request_body(NEW, prompt(1, seed=2**31 - 1), Workload(sampling=Sampling(temperature=0.5, top_k=40, top_p=0.25)), 2))
    assert inputs["temperature"].tolist() == [[0.5]] and inputs["runtime_top_p"].tolist() == [[0.25]]
    assert inputs["runtime_top_k"].tolist() == [[40]] and inputs["seed"].tolist() == [[2**31 - 1]]
    assert inputs["end_id"].tolist() == [[2]]


def test_an_older_release_is_asked_only_what_it_knows() -> None:
    request, inputs = sent(request_body(OLD, prompt(1, 2), Workload(sampling=Sampling(temperature=1.0)), NO_END_ID))
    assert inputs["random_seed"].tolist() == [5]
    assert inputs["input_ids"].tolist() == [1, 2]  # no batch dimension
    assert set(inputs) <= OLD.inputs and {output.name for output in request.outputs} == OLD.outputs
    assert request.model_version == "2"


@given(tokens, st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=100))
def test_ids_of_any_prompt_arrive_as_they_are(ids: list[int], request_id: str) -> None:
    request, inputs = sent(with_request_id(request_body(NEW, prompt(*ids), Workload(), NO_END_ID), request_id))
    assert inputs["input_ids"].tolist() == [ids] and request.id == request_id


@given(tokens, st.booleans())
def test_new_tokens_are_read(ids: list[int], final: bool) -> None:
    response = decode_response(response_bytes(ids, len(ids), final))
    assert (response.tokens, response.final, response.error, response.model_version) == (ids, final, "", "3")


@given(tokens, st.integers(0, 50))
def test_padding_behind_the_sequence_length_does_not_count(ids: list[int], length: int) -> None:
    assert decode_response(response_bytes(ids, length)).tokens == ids[:length]


def test_server_times_come_only_when_complete() -> None:
    late = 2**60
    assert decode_response(response_bytes([1], 1, times=(late, late, late + 2, late + 3))).times == ServerTimes(
        late, late, late + 2, late + 3
    )
    assert decode_response(response_bytes([1], 1, times=(1, 2, 3))).times is None


@pytest.mark.parametrize(
    "times", [(1, 2, 3, 2**60), (5, 4, 6, 7), (5, 6, 7, 6), (2**63 - 1, 1, 5, 1), (1, 2**63 - 1, 2**63 - 1, 2**63 - 1)]
)
def test_server_times_that_are_no_request_s_are_none(times: tuple[int, ...]) -> None:
    assert decode_response(response_bytes([1], 1, times=times)).times is None


def test_an_empty_final_response_and_an_error() -> None:
    message = service_pb2.ModelStreamInferResponse()
    message.infer_response.parameters["triton_final_response"].bool_param = True
    assert decode_response(message.SerializeToString()) == Response(final=True)
    failed = decode_response(service_pb2.ModelStreamInferResponse(error_message="no").SerializeToString())
    assert (failed.error, failed.final, list(failed.tokens)) == ("no", False, [])
    assert not decode_response(response_bytes([1], 1, final=None)).final


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    try:
        decode_response(message)
    except ValueError:
        return


def test_typed_contents_are_named_as_what_is_not_read() -> None:
    message = service_pb2.ModelStreamInferResponse()
    tensor = message.infer_response.outputs.add(name="output_ids", datatype="INT32", shape=[1, 1, 2])
    tensor.contents.int_contents.extend([5, 6])
    with pytest.raises(ValueError, match="1 tensors, of which 0 have raw_output_contents: typed contents are not read"):
        decode_response(message.SerializeToString())


def test_tensors_of_a_broken_size_are_refused() -> None:
    message = service_pb2.ModelStreamInferResponse()
    message.infer_response.outputs.add(name="output_ids", datatype="INT32", shape=[1])
    message.infer_response.raw_output_contents.append(b"\x01\x02\x03")
    with pytest.raises(ValueError):
        decode_response(message.SerializeToString())


def test_a_request_names_the_model_of_its_length_class() -> None:
    classes = (ServedClass(name="short", upto_input_tokens=3, model="m-short"), ServedClass(name="long", model="m-long"))
    target = replace(NEW, classes=classes)
    for ids, context, model in (((1, 2, 3), (), "m-short"), ((1, 2, 3, 4), (), "m-long"), ((1, 2), (7, 8), "m-long")):
        body = request_body(target, prompt(*ids), Workload(), NO_END_ID, context)
        assert service_pb2.ModelInferRequest.FromString(body).model_name == model
