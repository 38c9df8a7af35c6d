"""Whatever a server puts into its responses: each value has bounds, the request gets a class, and its record can be sealed."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.client.kserve.test_exchange import FakeConnection
from tests.support.asking import LATER_NS
from tests.support.fakes.fake_http2 import final_message
from trtbench.client.answer_bounds import most_ids, most_responses, most_text_bytes
from trtbench.client.kserve.exchange import Exchange
from trtbench.client.kserve.family import TIME_OUTPUTS
from trtbench.client.protocol import Limits
from trtbench.rundir.directory import DeploymentDirectory
from trtbench.rundir.lines import LineWriter
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import now_ns

ASKED = 8
Tensors = dict[str, tuple[str, bytes]]


def response(tensors: Tensors, final: bool = False, shape: list[int] | None = None, **fields: str) -> bytes:
    message = service_pb2.ModelStreamInferResponse()
    message.infer_response.parameters["triton_final_response"].bool_param = final
    for name, value in fields.items():
        setattr(message.infer_response, name, value)
    for name, (datatype, raw) in tensors.items():
        message.infer_response.outputs.add(name=name, datatype=datatype, shape=shape or [1])
        message.infer_response.raw_output_contents.append(raw)
    return bytes(message.SerializeToString())


def text(value: str | bytes) -> tuple[str, bytes]:
    data = value.encode() if isinstance(value, str) else value
    return "BYTES", struct.pack("<I", len(data)) + data


def ids(*values: int, datatype: str = "INT32") -> Tensors:
    return {"output_ids": (datatype, np.array(values, f"{'u' if datatype[0] == 'U' else ''}int{datatype.split('INT')[1]}").tobytes())}


def record_of() -> RequestRecord:
    return RequestRecord(0, "c1", False, 0, 3, ASKED, now_ns())


def answered(messages: list[bytes], accumulates: bool = False) -> RequestRecord:
    record = record_of()
    exchange = Exchange(record, Limits(now_ns() + LATER_NS), b"", accumulates)

    async def main() -> None:
        exchange.start_on((FakeConnection(), 1), b"")  # type: ignore[arg-type]
        for number, message in enumerate(messages):
            if record.done_ns is None:
                exchange.take_message(message, number + 1, 5, True)
        exchange.give_up(Outcome.CANCELLED, "the test is over")

    asyncio.run(main())
    return record


FINAL = final_message()
BEYOND = {
    "text": text(str(2**70)),
    "text of thousands of digits": text("9" * 9000),
    "text of lists without end": text("[" * 50),
    "INT64 twice": ("INT64", struct.pack("<qq", 2**62, 2**62)),
    "UINT64": ("UINT64", struct.pack("<Q", 2**64 - 1)),
    "negative": ("INT32", struct.pack("<i", -1)),
    "infinite": ("FP64", struct.pack("<d", float("inf"))),
    "no number": ("FP32", struct.pack("<f", float("nan"))),
    "no known type": ("BF16", b"\1\2"),
    "nothing": ("INT32", b""),
    "half a number": ("INT64", b"\1\2\3"),
}

UNTIMELY = BEYOND | {"INT64 twice": ("INT64", struct.pack("<qq", -1, 2**62))}


def sealed(record: RequestRecord, directory: Path) -> RequestRecord:
    """Written and read as every run's are."""
    deployment = DeploymentDirectory(directory)
    LineWriter(deployment.requests_jsonl()).write(record.to_json())
    deployment.seal()
    (read,) = deployment.requests()
    return read


@pytest.mark.parametrize("name", ["num_output_tokens", "num_input_tokens"])
@pytest.mark.parametrize("value", BEYOND.values(), ids=BEYOND)
def test_a_count_out_of_bounds_ends_its_request(name: str, value: tuple[str, bytes], tmp_path: Path) -> None:
    record = answered([response({"text_output": text(" w"), name: value}), FINAL])
    assert record.outcome is Outcome.OTHER and f"malformed response: {name} is" in record.error and len(record.error) <= 500
    assert sealed(record, tmp_path).outcome is Outcome.OTHER


@pytest.mark.parametrize("name", ["num_output_tokens", "num_input_tokens"])
def test_a_count_that_nobody_asked_for_ends_its_request(name: str) -> None:
    """It fits the tensor, and would be 2 thousand million tokens in no time."""
    record = answered([response({"text_output": text(" w"), name: ("INT32", struct.pack("<i", 2**31 - 1))}), FINAL])
    assert record.outcome is Outcome.OTHER and f"malformed response: {name} is 2147483647: out of range" in record.error


def test_counts_that_add_up_to_what_nobody_asked_for_end_their_request() -> None:
    count = {"num_output_tokens": ("INT32", struct.pack("<i", most_ids(ASKED)))}
    alone = answered([response({"text_output": text(" w"), **count}), FINAL])
    assert (alone.outcome, alone.output_tokens) == (Outcome.COMPLETED, most_ids(ASKED))
    twice = answered([response({"text_output": text(" w"), **count})] * 2 + [FINAL])
    assert twice.outcome is Outcome.OTHER and f"num_output_tokens is {2 * most_ids(ASKED)}: out of range" in twice.error


@pytest.mark.parametrize("value", UNTIMELY.values(), ids=UNTIMELY)
def test_instants_out_of_bounds_are_ignored(value: tuple[str, bytes], tmp_path: Path) -> None:
    record = answered([response({**ids(7), **dict.fromkeys(TIME_OUTPUTS, value)}), FINAL])
    assert record.outcome is Outcome.COMPLETED and record.server is None and sealed(record, tmp_path).output_tokens == 1


@pytest.mark.parametrize("datatype", ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"])
def test_ids_of_every_integer_type_are_read_as_they_are(datatype: str) -> None:
    many = [ids(index, 100 + index, datatype=datatype) for index in range(3)]
    lengths = {"sequence_length": ("INT64", struct.pack("<q", 2))}
    record = answered([*(response({**one, **lengths}) for one in many), FINAL])
    assert record.output_ids == [0, 100, 1, 101, 2, 102] and record.token_counts == [2, 2, 2]
    assert record.outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    ("tensors", "shape", "error"),
    [
        ({"output_ids": ("FP32", struct.pack("<f", 1.0))}, [1], "output_ids is FP32: token ids are integers"),
        ({"output_ids": text("17")}, [1], "output_ids is BYTES"),
        (ids(1, 2, 3, 4), [1, 2, 2], "output_ids is of shape [1, 2, 2]: one sequence is expected"),
        (ids(1), [1] * 9, "one sequence is expected"),
        (ids(2**40, datatype="INT64"), [1], f"output_ids has {2**40}"),
        (ids(2**64 - 1, datatype="UINT64"), [1], f"output_ids has {2**64 - 1}"),
        ({"output_ids": ("INT64", b"\1\2\3")}, [1], "malformed"),
        ({**ids(1), "sequence_length": ("INT32", struct.pack("<i", -5))}, [1], "sequence_length is -5"),
        ({"text_output": ("BYTES", b"\xff\xff\xff\xffab")}, [1], "shorter than its length prefix states"),
        ({"text_output": ("INT32", b"\1\0\0\0a")}, [1], "text_output is INT32"),
        ({f"t{number}": ("INT32", b"") for number in range(65)}, [1], "65 tensors"),
    ],
)
def test_tensors_of_another_type_or_shape_are_refused(tensors: Tensors, shape: list[int], error: str) -> None:
    record = answered([response(tensors, shape=shape), FINAL])
    assert record.outcome is Outcome.OTHER and error in record.error


@pytest.mark.parametrize("values", [[5, -3, 6], [-1]])
def test_ids_that_no_token_has_are_said_however_they_came(values: list[int]) -> None:
    record = answered([*(response(ids(value)) for value in values), FINAL])
    assert record.outcome is Outcome.OTHER and f"output_ids has {min(values)}: token ids are 0 to" in record.error


def test_an_endless_answer_is_given_up_at_its_bound() -> None:
    record = answered([response(ids(7))] * (most_responses(ASKED) + 100))
    assert record.outcome is Outcome.OTHER and "where 8 tokens were requested" in record.error
    assert len(record.token_ns) == most_responses(ASKED) + 1 and len(record.output_ids) <= most_ids(ASKED)


def test_of_an_answer_far_too_long_all_tokens_count_and_the_first_are_kept(tmp_path: Path) -> None:
    record = answered([response(ids(*range(2_000_000)), shape=[1, 1, 2_000_000]), FINAL])
    assert record.outcome is Outcome.COMPLETED and record.output_tokens == 2_000_000
    assert record.output_ids == list(range(most_ids(ASKED))) and sealed(record, tmp_path).output_tokens == 2_000_000


@pytest.mark.parametrize("accumulates", [False, True])
def test_texts_are_kept_up_to_a_bound(accumulates: bool) -> None:
    record = answered([response({"text_output": text("x" * 3_000_000)})] * 5 + [FINAL], accumulates)
    assert record.outcome is Outcome.COMPLETED and len(record.output_text) == most_text_bytes(ASKED, 0)


def test_words_and_errors_are_cut() -> None:
    fields = {"finish_reason": text("f" * 100_000)}
    assert len(answered([response({**ids(7), **fields}, model_version="v" * 100_000), FINAL]).finish_reason) == 64
    assert len(answered([response(ids(7), model_version="v" * 100_000)]).model_version) == 64
    error = service_pb2.ModelStreamInferResponse(error_message="e" * 1_000_000).SerializeToString()
    assert len(answered([error]).error) == 500


def test_a_character_cut_by_two_pieces_is_whole_and_what_is_no_text_is_replaced(tmp_path: Path) -> None:
    pieces = [b" caf", b"\xc3", b"\xa9 \xe2\x82", b"\xac", b"\xff", b"\xed\xa0\x80!"]
    record = answered([*(response({"text_output": text(piece)}) for piece in pieces), FINAL])
    assert record.output_text == " café €\ufffd\ufffd\ufffd\ufffd!" and sealed(record, tmp_path).output_text == record.output_text


TEXT, NO_TEXT = {"text_output": text(" w")}, {"text_output": text("")}
TOLD = {"num_output_tokens": ("INT32", struct.pack("<i", 0))}


@pytest.mark.parametrize(
    ("messages", "accumulates", "arrivals"),
    [
        ([NO_TEXT, TEXT, TEXT], False, [2, 3]),
        ([{}, NO_TEXT, {}, TEXT, {}, TEXT], False, [4, 6]),  # heartbeats
        ([{"text_output": text("\n")}, TEXT], False, [1, 2]),  # white space is text
        ([TEXT, NO_TEXT, TEXT], False, [1, 2, 3]),  # amid a character
        ([NO_TEXT, {"text_output": text(" w")}, {"text_output": text(" w w")}], True, [2, 3]),
        ([{**NO_TEXT, **TOLD}, {**TEXT, **TOLD}, {**NO_TEXT, "num_output_tokens": ("INT32", struct.pack("<i", 2))}], False, [2, 3]),
        ([ids(), {}, ids(5), ids(), ids(6)], False, [3, 5]),
        ([{"num_input_tokens": ("INT32", struct.pack("<i", 3))}, ids(5)], False, [2]),  # usage alone
    ],
)
def test_the_first_token_is_the_first_response_with_text_or_a_token(messages: list[Any], accumulates: bool, arrivals: list[int]) -> None:
    last = response(NO_TEXT, final=True)
    record = answered([*map(response, messages), last], accumulates)
    assert record.token_ns == arrivals and record.outcome is Outcome.COMPLETED and record.done_ns == len(messages) + 1


@pytest.mark.parametrize(
    ("messages", "accumulates"), [([], False), ([NO_TEXT, NO_TEXT], False), ([ids(), {}], False), ([NO_TEXT] * 3, True), ([TOLD], False)]
)
def test_what_says_nothing_to_its_end_is_empty(messages: list[Any], accumulates: bool) -> None:
    record = answered([*map(response, messages), response(NO_TEXT, final=True)], accumulates)
    assert record.outcome is Outcome.EMPTY and record.token_ns == []


def test_all_the_text_so_far_again_is_no_output() -> None:
    record = answered([response(TEXT), response(TEXT, final=True)], True)
    assert record.token_ns == [1] and record.output_text == " w"
