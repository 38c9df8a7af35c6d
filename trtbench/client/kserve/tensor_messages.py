"""KServe v2 messages of task infer: the bytes of a request from a row of tensors, and what is wrong with an answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from tritonclient.grpc import service_pb2

from trtbench.client.kserve.response_tensors import MOST_DIMENSIONS, MOST_TENSORS
from trtbench.client.request_outcome import classify, end
from trtbench.plan.plan import PlannedPrompt
from trtbench.plan.sources.tensors.tensor import InputRow, ModelTensors, Tensor, TensorSpec, decode_floats, size_fault
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.foreign_text import shown

_LONGEST_VERSION = 64
_LONGEST_ERROR = 2000  # characters that classify an error; a record keeps 500
_SEQUENCE_BITS = 63  # of an int64 that is not negative


def tensor_request(request: service_pb2.ModelInferRequest, prompt: PlannedPrompt, decoupled: bool) -> bytes:
    """The bytes of a request without its id: `request`, which names the model, with the row of `prompt`."""
    assert prompt.tensors, "a plan for a model with tensors has a row for each request"
    for tensor in prompt.tensors.inputs:
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        request.raw_input_contents.append(tensor.data)
    if decoupled:
        request.parameters["triton_enable_empty_final_response"].bool_param = True
    if prompt.session is not None:
        request.parameters["sequence_start"].bool_param = prompt.turn == 0
        request.parameters["sequence_end"].bool_param = prompt.ends_session
    body: bytes = request.SerializeToString()
    return body


def sequence_parameter(sequence: str) -> bytes:
    """What is appended to a request of the sequence of this name. Triton knows a sequence by a number above 0."""
    digest = hashlib.blake2b(sequence.encode(), digest_size=8).digest()
    request = service_pb2.ModelInferRequest()
    request.parameters["sequence_id"].int64_param = max(1, int.from_bytes(digest, "big") >> (64 - _SEQUENCE_BITS))
    part: bytes = request.SerializeToString()
    return part


class Answer(NamedTuple):
    """One response: `fault` if it is malformed, `wrong` if it is not what the data expects, `error` if the server sent one instead."""

    final: bool
    has_output: bool
    version: str = ""
    fault: str = ""
    wrong: str = ""
    error: str = ""


class AnswerCheck:
    """Checks answers of one model against what it promises, and against the rows whose outputs are known."""

    def __init__(self, model: ModelTensors, tolerance_ratio: float) -> None:
        self._outputs: Mapping[str, TensorSpec] = {spec.name: spec for spec in model.outputs}
        self._batched = model.batched
        self._tolerance_ratio = tolerance_ratio
        self._expected: dict[int, tuple[Tensor, ...]] = {}

    def expect(self, row: InputRow) -> None:
        """Check the answers to requests with this row against the outputs that are expected of it."""
        if row.expected:
            self._expected[row.number] = row.expected

    def end_with_answer(self, record: RequestRecord, message: bytes, done_ns: int) -> None:
        """End a request of a model that is not decoupled with its one answer."""
        answer = self._read(service_pb2.ModelInferResponse, message, record.row)
        record.model_version = answer.version
        if not answer.has_output and not answer.fault:
            answer = answer._replace(fault="the answer has no output")
        end(record, *outcome_of(answer.fault, answer.wrong), done_ns)

    def read_response(self, record: RequestRecord, message: bytes) -> Answer:
        """One response of a stream."""
        return self._read(service_pb2.ModelStreamInferResponse, message, record.row)

    def _read(self, kind: Any, message: bytes, row: int | None) -> Answer:
        try:
            parsed = kind.FromString(message)
        except Exception as error:  # protobuf's DecodeError has moved between its releases
            return Answer(False, False, fault=f"not a {kind.__name__}: {error}")
        infer = getattr(parsed, "infer_response", parsed)
        if said := getattr(parsed, "error_message", "")[:_LONGEST_ERROR]:
            return Answer(False, False, error=said)
        final = "triton_final_response" in infer.parameters and infer.parameters["triton_final_response"].bool_param
        version, has_output = infer.model_version[:_LONGEST_VERSION], bool(infer.outputs)
        try:
            tensors = self._tensors(infer)
        except ValueError as error:
            return Answer(final, has_output, version, fault=str(error))
        expected = self._expected.get(row, ()) if has_output and row is not None else ()
        wrong = next(filter(None, (difference(one, tensors.get(one.name), self._tolerance_ratio) for one in expected)), "")
        return Answer(final, has_output, version, wrong=wrong)

    def _tensors(self, infer: Any) -> dict[str, Tensor]:
        """The outputs by name; ValueError if one of them is not what the model promises."""
        if len(infer.outputs) > MOST_TENSORS:
            raise ValueError(f"{len(infer.outputs)} outputs, at most {MOST_TENSORS} are read")
        if len(infer.raw_output_contents) < len(infer.outputs):
            raise ValueError(f"{len(infer.outputs)} outputs, of which {len(infer.raw_output_contents)} have raw_output_contents")
        found = {}
        for output, data in zip(infer.outputs, infer.raw_output_contents, strict=False):
            tensor = Tensor(output.name, output.datatype, tuple(output.shape[: MOST_DIMENSIONS + 2]), data)
            self._check(tensor)
            found[tensor.name] = tensor
        return found

    def _check(self, tensor: Tensor) -> None:
        name, spec = shown(tensor.name, 80), self._outputs.get(tensor.name)
        if spec is None:
            raise ValueError(f"output {name}, which the model does not have")
        if tensor.datatype != spec.datatype:
            raise ValueError(f"output {name} is {shown(tensor.datatype, 20)}, the model promises {spec.datatype}")
        if not spec.fits(tensor.shape[1:] if self._batched else tensor.shape):
            promised = [*(["batch"] if self._batched else []), *spec.shape]
            raise ValueError(f"output {name} has shape {list(tensor.shape)}, the model promises {promised}")
        if fault := size_fault(tensor):
            raise ValueError(f"output {name} has {fault}")


def outcome_of(fault: str, wrong: str) -> tuple[Outcome, str]:
    """The end of a request whose answer is complete, and the error of its record."""
    if fault:
        return classify("", fault), f"malformed response: {fault}"
    return (Outcome.WRONG_OUTPUT, wrong) if wrong else (Outcome.COMPLETED, "")


def difference(expected: Tensor, found: Tensor | None, tolerance_ratio: float) -> str:
    """The difference of an output from the expected one; empty if it does not. Integers, truth values and strings have to be equal."""
    name = shown(expected.name, 80)
    if found is None:
        return f"output {name} is expected and was not sent"
    if found.shape != expected.shape:
        return f"output {name} has shape {list(found.shape)}, expected is {list(expected.shape)}"
    if found.data == expected.data:
        return ""
    wanted, got = decode_floats(expected.datatype, expected.data), decode_floats(found.datatype, found.data)
    if wanted is None or got is None or found.datatype != expected.datatype:
        return f"output {name} differs from the expected values"
    with np.errstate(invalid="ignore"):
        far = ~(
            (np.abs(got - wanted) <= tolerance_ratio * np.maximum(1, np.abs(wanted))) | (np.isnan(got) & np.isnan(wanted)) | (got == wanted)
        )
    if not far.any():
        return ""
    first = int(np.argmax(far))
    return (
        f"output {name} has {got[first]:g} at position {first}, expected is {wanted[first]:g}; {int(far.sum())} of {far.size} values differ"
    )
