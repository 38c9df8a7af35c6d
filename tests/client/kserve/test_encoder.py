"""An encoder under load: what is asked of it, what comes back, over which connections."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2, service_pb2

from tests.client.kserve.test_exchange import FakeConnection
from tests.client.test_transports import send_all
from tests.support.asking import BARE, EVERY_LOOP, LATER_NS, new_record, with_client
from trtbench.client.kserve.encoder import KEPT_PROMPTS, EncoderTensors, end_with_embedding, read_embedding, read_tensors
from trtbench.client.kserve.exchange import UnaryExchange
from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.messages import request_body
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.protocol import Limits, TargetError
from trtbench.client.wire import StreamEnded
from trtbench.load.worker import WorkerConfig
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import now_ns

pytestmark = pytest.mark.timeout(60)

TENSORS = EncoderTensors({"input_ids": "INT32"}, "embedding", "FP32", 4, ragged=True)
MASKED = EncoderTensors({"input_ids": "INT64", "attention_mask": "INT64", "token_type_ids": "INT32"}, "embedding", "FP32", 4, ragged=False)


def prompt_of(tokens: int, **more: Any) -> PlannedPrompt:
    return PlannedPrompt(np.arange(1, tokens + 1, dtype=np.int32), 0, 0, **more)


def target_of(url: str, model: str) -> KserveTarget:
    """The odd ones have the plain one's tensors."""
    plain = "encoder_padded" if model == "encoder_padded" else "encoder"
    return replace(inspect_target(url, plain, task="embed"), model=model)


def sent(target: KserveTarget, tokens: int) -> tuple[dict[str, Any], list[int]]:
    """(Values by tensor, their shape), as a server reads them."""
    request = service_pb2.ModelInferRequest.FromString(request_body(target, prompt_of(tokens), Workload(), -1))
    types = {"INT32": "<i4", "INT64": "<i8"}
    assert [output.name for output in request.outputs] == ["embedding"] and not request.parameters
    (shape,) = {tuple(tensor.shape) for tensor in request.inputs}
    return {
        tensor.name: np.frombuffer(raw, types[tensor.datatype]).tolist()
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    }, list(shape)


def test_ragged_inputs_are_sent_as_they_are() -> None:
    values, shape = sent(replace(BARE, encoder=TENSORS), 5)
    assert (values, shape) == ({"input_ids": [1, 2, 3, 4, 5]}, [1, 5])
    assert sent(replace(BARE, encoder=TENSORS, max_batch_size=0), 5)[1] == [5]


@given(tokens=st.integers(1, 40), pad=st.integers(0, 60))
def test_padding_is_masked(tokens: int, pad: int) -> None:
    values, shape = sent(replace(BARE, encoder=replace(MASKED, pad_tokens=pad)), tokens)
    length = max(tokens, pad)
    assert shape == [1, length]
    assert values["input_ids"] == [*range(1, tokens + 1), *[0] * (length - tokens)]
    assert values["attention_mask"] == [1] * tokens + [0] * (length - tokens)
    assert values["token_type_ids"] == [0] * length


def answer(values: Any, shape: list[int] | None = None, name: str = "embedding", datatype: str = "FP32") -> bytes:
    data = np.asarray(values, np.float32)
    if datatype == "BF16":
        data = (data.view("<u4") >> 16).astype("<u2")
    response = service_pb2.ModelInferResponse(model_version="7")
    response.outputs.add(name=name, datatype=datatype, shape=[1, data.size] if shape is None else shape)
    response.raw_output_contents.append(data.tobytes())
    return bytes(response.SerializeToString())


def test_an_embedding_is_one() -> None:
    assert read_embedding(answer([1, 2, 3, 4]), TENSORS) == ("7", "")
    assert read_embedding(answer(np.ones((5, 4)), [1, 5, 4]), replace(TENSORS, values=None)) == ("7", "")


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (answer([1, 2, 3]), "has 3 values, the model promises 4"),
        (answer([1, 2, 3, np.inf]), "not finite numbers"),
        (answer([1, 2, 3, np.nan]), "not finite numbers"),
        (answer([1, 2, 3], [1, 4]), "4 values of FP32 in 12 bytes"),
        (answer([], [1, 0]), "0 values"),
        (answer([1, 2, 3, 4], datatype="FP16"), "values of FP16"),
        (answer([1, 2, 3, 4], name="other"), "the answer has no embedding"),
        (b"", "the answer has no embedding"),
        (b"\xff", "not a ModelInferResponse"),
    ],
)
def test_what_is_no_embedding_is_named(message: bytes, fault: str) -> None:
    assert fault in read_embedding(message, TENSORS)[1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_values_of_bf16_are_looked_at_too(wrong: float) -> None:
    """NumPy has no such type."""
    halves = replace(TENSORS, output_datatype="BF16")
    assert "not finite numbers" in read_embedding(answer([1, 2, 3, wrong], datatype="BF16"), halves)[1]
    kept = new_record(0, 0)
    end_with_embedding(kept, answer([1, -2, 0.5, 3.0e38], datatype="BF16"), 5, halves)
    assert (kept.outcome, kept.embedding[:3]) == (Outcome.COMPLETED, [1, -2, 0.5])


def test_answers_of_the_first_prompts_are_kept() -> None:
    first, last, warm, none = (new_record(0, index) for index in range(4))
    last.prompt, warm.warmup = KEPT_PROMPTS, True
    for record in (first, last, warm):
        end_with_embedding(record, answer([1, 2, 3, 4]), 5, TENSORS)
    end_with_embedding(none, answer(np.ones((5, 4)), [1, 5, 4]), 5, replace(TENSORS, values=None))
    assert (first.embedding, first.done_ns, first.model_version) == ([1, 2, 3, 4], 5, "7")
    assert not last.embedding and not warm.embedding and not none.embedding
    assert {record.outcome for record in (first, last, warm, none)} == {Outcome.COMPLETED}


@given(st.binary(max_size=200))
def test_no_answer_raises(message: bytes) -> None:
    read_embedding(message, TENSORS)


def config_of(inputs: dict[str, int], outputs: dict[str, list[int]], **more: Any) -> Any:
    config = model_config_pb2.ModelConfig(max_batch_size=8)
    for name, data_type in inputs.items():
        config.input.add(name=name, data_type=data_type, dims=[more.get("length", -1)], allow_ragged_batch=more.get("ragged", False))
    for name, dims in outputs.items():
        config.output.add(name=name, data_type=more.get("output_type", model_config_pb2.TYPE_FP32), dims=dims)
    config.model_transaction_policy.decoupled = more.get("decoupled", False)
    return config


INT32, INT64, TEXT = model_config_pb2.TYPE_INT32, model_config_pb2.TYPE_INT64, model_config_pb2.TYPE_STRING
BERT = {"input_ids": INT64, "attention_mask": INT64}


def test_somebody_elses_encoder() -> None:
    found = read_tensors(config_of(BERT, {"last_hidden_state": [-1, 384], "pooler_output": [384]}))
    assert found == EncoderTensors({"input_ids": "INT64", "attention_mask": "INT64"}, "pooler_output", "FP32", 384, ragged=False)
    assert found.needs_padding and found.can_pad
    hidden = read_tensors(config_of({"input_ids": INT32}, {"logits": [-1, 384]}, length=128))
    assert (hidden.output, hidden.values, hidden.pad_tokens) == ("logits", None, 128)
    assert not hidden.needs_padding and not hidden.can_pad


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (config_of(BERT, {"e": [4]}, decoupled=True), "is decoupled.*leave out --task embed"),
        (config_of({"text": TEXT}, {"e": [4]}), "has no input_ids .it takes text."),
        (config_of({"input_ids": INT32, "bbox": INT32}, {"e": [4]}), "needs bbox too"),
        (config_of({"input_ids": TEXT}, {"e": [4]}), "takes input_ids BYTES: token ids are INT32 or INT64"),
        (config_of(BERT, {}), "has no output"),
        (config_of(BERT, {"e": [4]}, output_type=TEXT), "answers with e BYTES"),
    ],
)
def test_what_is_no_encoder_says_why(config: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_tensors(config)


def test_the_task_must_be_the_models(fake_server: Any) -> None:
    with pytest.raises(TargetError, match=r"'encoder' embeds and does not generate.*give --task embed"):
        inspect_target(fake_server.url, "encoder")
    with pytest.raises(TargetError, match="is decoupled"):
        inspect_target(fake_server.url, "tensorrt_llm", task="embed")


def test_the_tensors_survive_the_way_to_a_worker(tmp_path: Path) -> None:
    target = replace(BARE, encoder=MASKED)
    config = WorkerConfig(0, tmp_path, tmp_path, tmp_path, target, Workload(), ClientSettings(), -1, 1.0, 1.0)
    assert WorkerConfig.from_line(config.to_line()) == config


@pytest.mark.parametrize(
    ("model", "outcome", "error"),
    [
        ("encoder", Outcome.COMPLETED, ""),
        ("encoder_padded", Outcome.COMPLETED, ""),
        ("encoder_short", Outcome.OTHER, "3 values"),
        ("encoder_nan", Outcome.OTHER, "finite"),
        ("encoder_empty", Outcome.OTHER, "no embedding"),
        ("encoder_full", Outcome.REJECTED, "maximum queue size"),
        ("encoder_garbage", Outcome.OTHER, "not a ModelInferResponse"),
    ],
)
def test_every_end_of_an_encoders_request(fake_server: Any, model: str, outcome: Outcome, error: str) -> None:
    prompts = [prompt_of(tokens) for tokens in (5, 9, 3, 200, 7)]
    records = send_all(target_of(fake_server.url, model), prompts, Workload())
    assert {record.outcome for record in records} == {outcome} and all(error in record.error for record in records)
    for record in records:
        assert record.sent_ns and record.done_ns and record.sent_ns < record.done_ns
        assert not record.token_ns and not record.output_ids
        assert (record.done_lag_ns is not None) == (model not in ("encoder_full",))


@EVERY_LOOP
def test_a_request_is_given_up_on_the_server_too(start_fake_server: Any, fast_loop: bool) -> None:
    server = start_fake_server(1, 1)
    late, planned, cancelled = new_record(0), new_record(0), new_record(0)

    async def body(client: Any) -> None:
        await client.open_streams(1)
        message = client.encode_request(prompt_of(5))
        await client.send_request(late, message, Limits(now_ns() + 500_000_000))
        await client.send_request(planned, message, Limits(now_ns() + LATER_NS, cancel_after_ns=500_000_000))
        task = asyncio.create_task(client.send_request(cancelled, message, Limits(now_ns() + LATER_NS)))
        while (await asyncio.to_thread(server.counts))[1:] != (2, 1):  # the third has come, the others are gone
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with_client(target_of(server.url, "encoder_stuck"), fast_loop, body)
    assert [record.outcome for record in (late, planned, cancelled)] == [Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.CANCELLED]
    deadline = time.monotonic() + 5
    while server.counts()[1:] != (3, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.counts() == (0, 3, 0)


@pytest.mark.parametrize("end", ["completed", "failed", "lost", "given up"])
def test_only_an_answer_that_counts_has_a_lag(end: str) -> None:
    """What came is forgotten when the status with it says that the call failed, or does not come."""
    record = new_record()

    async def ended() -> None:
        exchange = UnaryExchange(record, Limits(now_ns() + LATER_NS), partial(end_with_embedding, tensors=TENSORS))
        exchange.start_on((FakeConnection(), 1), b"")  # type: ignore[arg-type]
        exchange.take_message(answer([1, 2, 3, 4]), 7, 5, True)
        if end == "lost":
            exchange.connection_lost("gone")
        elif end == "given up":
            exchange.give_up(Outcome.TIMEOUT, "late")
        else:
            exchange.stream_ended(StreamEnded(1, "OK" if end == "completed" else "INTERNAL", ""))
        await exchange.over

    asyncio.run(ended())
    assert (record.outcome is Outcome.COMPLETED, record.done_lag_ns) == ((True, 5) if end == "completed" else (False, None))


@EVERY_LOOP
def test_a_lost_server_is_a_broken_connection(start_fake_server: Any, fast_loop: bool) -> None:
    server, record = start_fake_server(1, 1), new_record(0)

    async def body(client: Any) -> None:
        task = asyncio.create_task(client.send_request(record, client.encode_request(prompt_of(5)), Limits(now_ns() + LATER_NS)))
        await asyncio.sleep(0.1)
        server.kill()
        await task

    with_client(target_of(server.url, "encoder_stuck"), fast_loop, body)
    assert record.outcome is Outcome.CONNECTION


def test_unary_calls_share_their_connections(fake_server: Any) -> None:
    """One after another over wire: one connection, a new stream a request, none kept."""
    records = [new_record(0, index) for index in range(30)]
    target = target_of(fake_server.url, "encoder")

    async def body(client: Any) -> None:
        await client.open_streams(1)
        for record in records:
            await client.send_request(record, client.encode_request(prompt_of(5)), Limits(now_ns() + LATER_NS))

    facts = with_client(target, True, body)
    assert {record.outcome for record in records} == {Outcome.COMPLETED}
    assert (facts["connections_opened"], facts["connections_lost"]) == (1, 0)
