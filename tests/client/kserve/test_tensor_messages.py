"""Requests and answers of task infer: what a request holds, and what is wrong with an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from tests.support.asking import new_record
from trtbench.client.kserve.tensor_messages import AnswerCheck, difference, sequence_parameter, tensor_request
from trtbench.plan.plan import PlannedPrompt
from trtbench.plan.sources.tensors.tensor import BYTES, InputRow, ModelTensors, Tensor, TensorSpec, encode_strings
from trtbench.rundir.records import Outcome

MODEL = ModelTensors(
    (TensorSpec("IN", "FP32", (2,)),),
    (TensorSpec("OUT", "FP32", (2,)), TensorSpec("TEXT", BYTES, (-1,))),
    8,
    decoupled=False,
    keeps_state=False,
)
ROW = InputRow(3, (Tensor("IN", "FP32", (1, 2), bytes(8)),), (Tensor("OUT", "FP32", (1, 2), np.array([1, 2], "<f4").tobytes()),))


def prompt(**more: Any) -> PlannedPrompt:
    return PlannedPrompt(np.zeros(0, np.int32), 0, 1, tensors=ROW, **more)


def parsed(body: bytes) -> Any:
    return service_pb2.ModelInferRequest.FromString(body)


def answer(*outputs: tuple[str, str, list[int], bytes]) -> bytes:
    message = service_pb2.ModelInferResponse(model_name="m", model_version="4")
    for name, datatype, shape, data in outputs:
        message.outputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_output_contents.append(data)
    encoded: bytes = message.SerializeToString()
    return encoded


def ended(message: bytes, row: int | None = None, tolerance_ratio: float = 0.001) -> tuple[Outcome, str]:
    check, record = AnswerCheck(MODEL, tolerance_ratio), new_record(0)
    check.expect(ROW)
    record.row = row
    check.end_with_answer(record, message, 5)
    assert record.done_ns == 5
    return record.outcome, record.error


def test_a_request_holds_the_tensors_of_its_row() -> None:
    request = parsed(tensor_request(service_pb2.ModelInferRequest(model_name="m"), prompt(), decoupled=False))
    assert [(one.name, one.datatype, list(one.shape)) for one in request.inputs] == [("IN", "FP32", [1, 2])]
    assert list(request.raw_input_contents) == [bytes(8)] and not request.parameters


def test_a_decoupled_model_is_asked_for_its_final_response() -> None:
    request = parsed(tensor_request(service_pb2.ModelInferRequest(), prompt(), decoupled=True))
    assert request.parameters["triton_enable_empty_final_response"].bool_param


@given(st.text(max_size=40))
def test_a_sequence_has_a_number_above_zero_and_its_ends(name: str) -> None:
    body = tensor_request(service_pb2.ModelInferRequest(), prompt(session=1, turn=0, ends_session=True), decoupled=False)
    parameters = parsed(body + sequence_parameter(name)).parameters
    assert 0 < parameters["sequence_id"].int64_param < 2**63
    assert parameters["sequence_start"].bool_param and parameters["sequence_end"].bool_param
    assert sequence_parameter(name) == sequence_parameter(name) != sequence_parameter(name + "x")


GOOD = ("OUT", "FP32", [1, 2], np.array([1, 2], "<f4").tobytes())


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (answer(GOOD), ""),
        (answer(GOOD, ("TEXT", BYTES, [1, 2], encode_strings([b"a", b""]))), ""),
        (answer(), "the answer has no output"),
        (b"\xff\xff", "not a ModelInferResponse"),
        (answer(("OTHER", "FP32", [1, 2], bytes(8))), "output OTHER, which the model does not have"),
        (answer(("OUT", "FP64", [1, 2], bytes(16))), "output OUT is FP64, the model promises FP32"),
        (answer(("OUT", "FP32", [1, 3], bytes(12))), r"output OUT has shape [1, 3], the model promises ['batch', 2]"),
        (answer(("OUT", "FP32", [2], bytes(8))), "output OUT has shape [2]"),
        (answer(("OUT", "FP32", [1, 2], bytes(7))), "output OUT has 7 bytes for shape [1, 2] of FP32"),
        (answer(("TEXT", BYTES, [1, 2], encode_strings([b"a"]))), "output TEXT has 1 strings for shape [1, 2]"),
        (answer(("TEXT", BYTES, [1, 1], b"\xff\xff\xff\x7f")), "output TEXT has no whole strings"),
    ],
)
def test_an_answer_that_is_not_what_the_model_promises_is_a_failure(message: bytes, error: str) -> None:
    outcome, said = ended(message)
    assert outcome is (Outcome.OTHER if error else Outcome.COMPLETED)
    assert error in said


@given(st.binary(max_size=60))
def test_no_bytes_raise(message: bytes) -> None:
    ended(message, row=3)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([1, 2], ""),
        ([1.0005, 2], ""),
        ([1.1, 2], "output OUT has 1.1 at position 0, expected is 1; 1 of 2 values differ"),
        ([np.nan, 2], "output OUT has nan at position 0"),
    ],
)
def test_expected_values_are_compared_within_the_tolerance(values: list[float], error: str) -> None:
    outcome, said = ended(answer(("OUT", "FP32", [1, 2], np.array(values, "<f4").tobytes())), row=3)
    assert outcome is (Outcome.WRONG_OUTPUT if error else Outcome.COMPLETED)
    assert error in said


def test_a_row_without_expected_values_is_not_compared() -> None:
    assert ended(answer(("OUT", "FP32", [1, 2], bytes(8))), row=2)[0] is Outcome.COMPLETED


def test_an_expected_output_that_was_not_sent() -> None:
    outcome, said = ended(answer(("TEXT", BYTES, [1, 1], encode_strings([b"a"]))), row=3)
    assert outcome is Outcome.WRONG_OUTPUT and "output OUT is expected and was not sent" in said


@pytest.mark.parametrize(("datatype", "data"), [("INT32", bytes(4)), ("BOOL", bytes(1)), (BYTES, encode_strings([b"a"]))])
def test_other_types_have_to_be_equal(datatype: str, data: bytes) -> None:
    one = Tensor("T", datatype, (1,), data)
    other = Tensor("T", datatype, (1,), data[:-1] + bytes([data[-1] ^ 1]))
    assert difference(one, one, 1.0) == "" and "differs from the expected values" in difference(one, other, 1.0)


def test_infinities_and_nan_that_are_expected_are_equal() -> None:
    one = Tensor("T", "FP64", (3,), np.array([np.inf, -np.inf, np.nan]).tobytes())
    other = Tensor("T", "FP64", (3,), np.array([np.inf, -np.inf, -np.nan]).tobytes())
    assert difference(one, other, 0.0) == ""
