"""The frames of an answer, read back by protobuf."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from tests.support.triton.kserve import request
from trtbench.client.http2.frames import HEADER_BYTES
from trtbench.self_test.answer import Answer, RequestError
from trtbench.self_test.stamp import Stamps

ARRIVAL_NS = 10**15


def ask(first_us: int, gap_us: int, responses: int) -> bytes:
    message = request("calibration", input_ids=[first_us, gap_us], input_lengths=2, request_output_len=responses)
    message.id = "7"
    serialised: bytes = message.SerializeToString()
    return serialised


def read(write: bytes) -> list[Any]:
    """The messages of one write: whole DATA frames of one message each."""
    messages = []
    while write:
        high, low, kind, flags, stream_id = struct.unpack_from(">BHBBI", write)
        size = high << 16 | low
        assert (kind, flags, stream_id) == (0, 0, 5)
        payload, write = write[HEADER_BYTES : HEADER_BYTES + size], write[HEADER_BYTES + size :]
        assert struct.unpack_from(">?I", payload) == (False, len(payload) - 5)
        messages.append(service_pb2.ModelStreamInferResponse.FromString(payload[5:]))
    return messages


def ids(message: Any) -> tuple[int, ...]:
    tensors = dict(zip((tensor.name for tensor in message.infer_response.outputs), message.infer_response.raw_output_contents, strict=True))
    assert struct.unpack("<i", tensors["sequence_length"]) == (4,)
    return struct.unpack("<4i", tensors["output_ids"])


def final(message: Any) -> bool:
    return bool(message.infer_response.parameters["triton_final_response"].bool_param)


def test_responses_are_due_on_a_schedule_that_never_drifts() -> None:
    answer = Answer(5, ask(1000, 500, 4), ARRIVAL_NS)
    due_us = []
    while not answer.is_over:
        due_us.append((answer.due_ns - ARRIVAL_NS) // 1000)
        answer.write(answer.due_ns + 123_000)  # always late
    assert due_us == [1000, 1500, 2000, 2500]


def test_a_response_is_tritons_with_the_stamp_in_its_ids() -> None:
    answer = Answer(5, ask(1000, 500, 2), ARRIVAL_NS)
    first, last = (read(bytes(answer.write(answer.due_ns + 77_000)))[0] for _ in range(2))
    assert (first.infer_response.model_name, first.infer_response.model_version, first.infer_response.id) == ("calibration", "1", "7")
    assert [list(tensor.shape) for tensor in first.infer_response.outputs] == [[1, 1, 4], [1, 1]]
    assert (final(first), final(last)) == (False, True)
    stamps = Stamps.of([*ids(first), *ids(last)])
    assert stamps.sent_ns.tolist() == [ARRIVAL_NS + 1_077_000, ARRIVAL_NS + 1_577_000]
    assert stamps.late_ns.tolist() == [77_000, 77_000]


@given(st.integers(1, 300), st.integers(0, 2000))
def test_without_a_gap_as_many_leave_at_once_as_flow_control_knows_of(responses: int, first_us: int) -> None:
    answer = Answer(5, ask(first_us, 0, responses), ARRIVAL_NS)
    messages, now_ns = [], answer.due_ns
    while not answer.is_over:
        assert answer.due_ns <= now_ns
        counted, together = answer.window_bytes, answer.next_write
        write = bytes(answer.write(now_ns))
        new = read(write)
        assert (len(new), len(write) - len(new) * HEADER_BYTES) == (together, counted)
        messages += new
        now_ns += 1000
    assert len(messages) == responses
    assert [final(message) for message in messages] == [False] * (responses - 1) + [True]
    assert len(Stamps.of([number for message in messages for number in ids(message)]).sent_ns) == responses


@pytest.mark.parametrize(
    "tensors",
    [
        {"input_ids": [5], "request_output_len": 3},
        {"input_ids": [5, -1], "request_output_len": 3},
        {"input_ids": [5, 5], "request_output_len": 0},
        {"input_ids": [5, 5]},
        {"request_output_len": 3},
    ],
)
def test_a_request_without_a_schedule_is_refused(tensors: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="input_ids"):
        Answer(5, request("calibration", **tensors).SerializeToString(), ARRIVAL_NS)


def test_a_tensor_of_other_integers_is_refused() -> None:
    message = request("calibration", input_ids=[5, 5], request_output_len=3)
    message.raw_input_contents[0] = b"\x01\x02\x03"
    with pytest.raises(RequestError, match="32-bit"):
        Answer(5, message.SerializeToString(), ARRIVAL_NS)


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(RequestError, match="ModelInferRequest"):
        Answer(5, b"\xff\xff\xff", ARRIVAL_NS)
