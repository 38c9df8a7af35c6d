"""What the engine counts of a request: asked for where the model has it, read of either form, and not told where it cannot be read."""

from __future__ import annotations

import json
import struct
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from tests.contracts.contract import contract
from tests.support.asking import BARE, LATER_NS, with_client
from tests.support.fakes.fake_text import COUNTS
from trtbench.client.kserve.family import COUNT_OUTPUTS, TIME_OUTPUTS
from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.messages import decode_response, request_body
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.protocol import NO_END_ID, Limits
from trtbench.load.attempts import _reset
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import EngineCounts, Outcome, RequestRecord
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import now_ns

CPP = {name: COUNT_OUTPUTS[name] for name in COUNTS["ensemble"]}
LLMAPI = {name: COUNT_OUTPUTS[name] for name in COUNTS["llmapi"]}
FAMILIES = {"inflight_batcher_llm/tensorrt_llm": CPP, "inflight_batcher_llm/ensemble": CPP, "inflight_batcher_llm/tensorrt_llm_bls": CPP}
PROMPT = PlannedPrompt(np.array([1, 2, 3, 4], np.int32), 5, 9, text="a b c d")
small = st.integers(0, 2**31 - 1)


def message(tensors: dict[str, tuple[str, bytes]]) -> bytes:
    answer = service_pb2.ModelStreamInferResponse()
    for name, (datatype, raw) in tensors.items():
        answer.infer_response.outputs.add(name=name, datatype=datatype, shape=[1])
        answer.infer_response.raw_output_contents.append(raw)
    return bytes(answer.SerializeToString())


def strings(values: dict[str, str]) -> bytes:
    return message({name: ("BYTES", struct.pack("<I", len(text)) + text.encode()) for name, text in values.items()})


@given(st.dictionaries(st.sampled_from(sorted(CPP)), small, min_size=1))
def test_integers_of_the_backend_are_read(values: dict[str, int]) -> None:
    raw = message({name: ("INT32", struct.pack("<i", value)) for name, value in values.items()})
    assert decode_response(raw).counts == EngineCounts(**{CPP[name]: value for name, value in values.items()})


@given(st.dictionaries(st.sampled_from(sorted(LLMAPI)), small, min_size=1), st.booleans())
def test_strings_of_llmapi_are_read(values: dict[str, int], listed: bool) -> None:
    raw = strings({name: json.dumps([value] if listed else value) for name, value in values.items()})
    assert decode_response(raw).counts == EngineCounts(**{LLMAPI[name]: value for name, value in values.items()})


WRONG = ["", "None", "null", "x", "[]", "{}", '"12"', "true", "[true]", "-1", "1e400", "NaN", "2147483648", "[[1]]", "[" * 100_000]


@pytest.mark.parametrize("text", WRONG)
def test_a_string_that_is_not_a_count_is_ignored(text: str) -> None:
    assert decode_response(strings({"kv_cache_reused_block": text})).counts is None
    beside = decode_response(strings({"kv_cache_reused_block": text, "kv_cache_missed_block": "7"}))
    assert beside.counts == EngineCounts(kv_missed_blocks=7) and not beside.error


@pytest.mark.parametrize(
    ("datatype", "raw"),
    [("INT32", b""), ("INT32", b"\1\2\3"), ("INT32", b"\xff" * 4), ("BYTES", b""), ("BYTES", b"\x09\0\0\0ab"), ("BOOL", b"\1")],
)
def test_a_tensor_that_is_not_a_count_is_ignored(datatype: str, raw: bytes) -> None:
    assert decode_response(message({"total_draft_tokens": (datatype, raw)})).counts is None


def test_a_response_without_them_has_no_counts() -> None:
    assert decode_response(message({"text_output": ("BYTES", b"\0\0\0\0")})).counts is None


def asked(target: KserveTarget) -> tuple[set[str], set[str]]:
    """(Inputs, outputs) that a request names."""
    request = service_pb2.ModelInferRequest.FromString(request_body(target, PROMPT, Workload(), NO_END_ID))
    return {tensor.name for tensor in request.inputs}, {tensor.name for tensor in request.outputs}


def test_they_are_asked_for_only_where_the_model_has_them_and_can_be_asked() -> None:
    plain, metrics = set(BARE.outputs), "return_perf_metrics"
    with_outputs = replace(BARE, outputs=BARE.outputs | set(CPP))
    assert asked(BARE)[1] == plain
    assert asked(with_outputs)[1] == plain, "no input asks for them"
    assert asked(replace(BARE, inputs=BARE.inputs | {metrics}))[1] == plain, "no output has them"
    inputs, outputs = asked(replace(with_outputs, inputs=BARE.inputs | {metrics}))
    assert metrics in inputs and outputs == plain | set(CPP), "without instants too"
    some = replace(BARE, inputs=BARE.inputs | {metrics}, outputs=BARE.outputs | {"total_draft_tokens", "acceptance_rate"})
    assert asked(some)[1] == plain | {"total_draft_tokens"}, "what follows from others is not asked for"


def of_contract(name: str, model: str) -> KserveTarget:
    found = contract(name)["triton_models"][model]
    inputs, outputs = (frozenset(tensor["name"] for tensor in found[part]) for part in ("inputs", "outputs"))
    return KserveTarget("h:1", "m", "", 0, "2.60.0", inputs, outputs)


@pytest.mark.parametrize("name", ["0.19.0", "1.0", "1.2"])
@pytest.mark.parametrize(("model", "names"), FAMILIES.items(), ids=lambda value: value if isinstance(value, str) else "")
def test_the_recorded_models_of_the_backend_have_every_one(name: str, model: str, names: dict[str, str]) -> None:
    assert set(of_contract(name, model).reported_counts) == set(names)
    types = {tensor["name"]: tensor["data_type"] for tensor in contract(name)["triton_models"][model]["outputs"]}
    assert {types[output] for output in names} == {"TYPE_INT32"}


@pytest.mark.parametrize("name", ["1.0", "1.2"])
def test_the_recorded_llmapi_has_every_one_by_its_own_names(name: str) -> None:
    target = of_contract(name, "llmapi/tensorrt_llm")
    assert set(target.reported_counts) == set(LLMAPI) and set(LLMAPI) | set(TIME_OUTPUTS) <= asked(target)[1]


def test_between_them_the_models_fill_every_field() -> None:
    assert {*CPP.values(), *LLMAPI.values()} == {field.name for field in fields(EngineCounts)} == set(COUNT_OUTPUTS.values())
    assert set(COUNT_OUTPUTS) == {*CPP, *LLMAPI}


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        ("ensemble", EngineCounts(3, None, 1, 2, 8, 6)),
        ("llmapi", EngineCounts(3, 1, 2, 2, 0, 0)),
        ("ensemble_0.19", None),
        ("ids_echo", None),
    ],
)
def test_counts_that_a_server_reports_are_read(fake_server: Any, model: str, counts: EngineCounts | None) -> None:
    record = RequestRecord(0, "c1", False, 0, 4, PROMPT.output_tokens, now_ns())

    async def body(client: Any) -> None:
        await client.send_request(record, client.encode_request(PROMPT), Limits(now_ns() + LATER_NS))

    with_client(inspect_target(fake_server.url, model), False, body)
    assert (record.outcome, record.engine) == (Outcome.COMPLETED, counts), record.error


def test_counts_of_a_failed_attempt_are_dropped_for_the_next() -> None:
    record = RequestRecord(0, "c1", False, 0, 4, 5, 0, engine=EngineCounts(1))
    _reset(record)
    assert record.engine is None
