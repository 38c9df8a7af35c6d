"""KServe v2 messages of TensorRT-LLM's models (family.py): the bytes of a request from a planned prompt, and a response from its bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tritonclient.grpc import service_pb2

from trtbench.client.kserve.encoder import embedding_request
from trtbench.client.kserve.family import (
    COUNT_OUTPUTS,
    FINISH_OUTPUT,
    INPUT_COUNT,
    OUTPUT_COUNT,
    TEXT_OUTPUT,
    TIME_OUTPUTS,
    Role,
    sampling_parameters,
)
from trtbench.client.kserve.response_tensors import MOST_INSTANT_NS, MOST_TENSORS, Tensor, integer, output_text, token_ids, word_of
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.kserve.tensor_messages import tensor_request
from trtbench.client.protocol import NO_END_ID
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import EngineCounts, ServerTimes
from trtbench.scenario.workload.workload import Sampling, Workload
from trtbench.system.clock import NS_PER_S

STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"

_ID_TAG = b"\x1a"  # ModelInferRequest.id: field 3, length-delimited
_DTYPES = {"INT32": "<i4", "INT64": "<i8", "UINT64": "<u8", "FP32": "<f4", "FP64": "<f8", "BOOL": "?"}
_COUNT_NAMES = frozenset(COUNT_OUTPUTS)
_BYTES_LENGTH = struct.Struct("<I")  # before each element of a BYTES tensor
_LONGEST_ERROR = 2000  # characters that classify an error; a record keeps 500
_LONGEST_VERSION = 64
_LONGEST_REQUEST_NS = 86_400 * NS_PER_S


class Response(NamedTuple):
    """One message of a stream. `tokens` are only the new ones. `times` and `counts` come with the last response, if the server has them.

    A model that answers in text has `text`, and, if the server reports them, the numbers of tokens in this response and in the prompt.
    """

    tokens: Sequence[int] = ()
    final: bool = False
    error: str = ""
    times: ServerTimes | None = None
    model_version: str = ""
    text: bytes | None = None
    reported_tokens: int | None = None
    input_tokens: int | None = None
    finish_reason: str = ""
    counts: EngineCounts | None = None

    @property
    def carries(self) -> bool:
        """Whether it contains a token or text."""
        return bool(self.tokens or self.reported_tokens or self.text)

    @property
    def is_empty_piece(self) -> bool:
        """Whether it contains a text of length 0 and no count. After the first text this is a token that ends inside a character."""
        return self.text == b"" and self.reported_tokens is None and not self.final

    @property
    def new_tokens(self) -> int:
        """The number of tokens that it contains; 0 if that is unknown."""
        return len(self.tokens) or self.reported_tokens or 0


def request_body(target: KserveTarget, prompt: PlannedPrompt, workload: Workload, end_id: int, context: Sequence[int] = ()) -> bytes:
    """A serialised request without its id, which `with_request_id` adds.

    `end_id` is the token that ends the output, or NO_END_ID. `context` are token ids before those of the prompt.
    """
    model = target.model_for(len(context) + len(prompt.input_ids))
    request = service_pb2.ModelInferRequest(model_name=model, model_version=target.version)
    if prompt.priority:
        request.parameters["priority"].int64_param = prompt.priority  # the only type that every release of Triton accepts
    if target.encoder:
        return embedding_request(request, target.encoder, target.batched, prompt)
    if target.tensors:
        return tensor_request(request, prompt, target.tensors.decoupled)
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    for role, values in _inputs(target, prompt, context, workload, end_id):
        if name := target.input_name(role):
            datatype = target.family.inputs[role].datatype
            data, elements = _raw(datatype, values)
            request.inputs.add(name=name, datatype=datatype, shape=[1, elements] if target.batched else [elements])
            request.raw_input_contents.append(data)
    for name in target.requested_outputs:
        request.outputs.add(name=name)
    body: bytes = request.SerializeToString()
    return body


def with_request_id(body: bytes, request_id: str) -> bytes:
    """A request with its id. Protobuf parses concatenated messages as one, so a prompt is serialised only once for all its requests."""
    encoded = request_id.encode()
    assert len(encoded) < 128, "a longer id needs a longer length prefix"
    return body + _ID_TAG + bytes([len(encoded)]) + encoded


def decode_response(message: bytes) -> Response:
    """The response in the bytes of a ModelStreamInferResponse; ValueError if they are anything else."""
    try:
        stream = service_pb2.ModelStreamInferResponse.FromString(message)
    except Exception as error:  # protobuf's DecodeError has moved between its releases
        raise ValueError(f"not a ModelStreamInferResponse: {error}") from error
    infer = stream.infer_response
    parameters = infer.parameters
    contents = infer.raw_output_contents
    if len(infer.outputs) > MOST_TENSORS:
        raise ValueError(f"{len(infer.outputs)} tensors, where {MOST_TENSORS} are the most that are read")
    if len(contents) < len(infer.outputs):
        raise ValueError(f"{len(infer.outputs)} tensors, of which {len(contents)} have raw_output_contents: typed contents are not read")
    tensors = {one.name: (one.datatype, one.shape, raw) for one, raw in zip(infer.outputs, contents, strict=False)}
    return Response(
        tokens=token_ids("output_ids", tensors["output_ids"], tensors.get("sequence_length")) if "output_ids" in tensors else (),
        final="triton_final_response" in parameters and parameters["triton_final_response"].bool_param,
        error=stream.error_message[:_LONGEST_ERROR],
        times=_times(tensors) if TIME_OUTPUTS[0] in tensors else None,
        model_version=infer.model_version[:_LONGEST_VERSION],
        text=output_text(TEXT_OUTPUT, tensors[TEXT_OUTPUT]) if TEXT_OUTPUT in tensors else None,
        reported_tokens=_optional_integer(tensors, OUTPUT_COUNT),
        input_tokens=_optional_integer(tensors, INPUT_COUNT),
        finish_reason=word_of(tensors[FINISH_OUTPUT][2]) if FINISH_OUTPUT in tensors else "",
        counts=None if _COUNT_NAMES.isdisjoint(tensors) else _counts(tensors),
    )


def _inputs(
    target: KserveTarget, prompt: PlannedPrompt, context: Sequence[int], workload: Workload, end_id: int
) -> Iterator[tuple[Role, Any]]:
    """(Role, values) of everything that the request may specify; the caller leaves out roles for which the model has no input."""
    if target.family.name == "ids":
        input_ids = np.concatenate([np.asarray(context, np.int32), prompt.input_ids]) if len(context) else prompt.input_ids
        yield "prompt", input_ids
        yield "prompt_tokens", len(input_ids)
    else:
        assert prompt.text and not len(context), "a plan for a model that takes text has texts and no sessions"
        yield "prompt", prompt.text
    yield "output_tokens", prompt.output_tokens
    yield "sampling_parameters", sampling_parameters(prompt.output_tokens, end_id == NO_END_ID, workload.sampling, prompt.seed)
    yield "end_id", end_id
    yield "stream", workload.streaming
    yield "exclude_prompt", True
    yield from _sampling(prompt, workload.sampling)
    if target.reports_metrics:
        yield "return_times", True
    if target.reports_output_count:
        yield "return_output_count", True
    if target.reports_input_count:
        yield "return_input_count", True
    if target.reports_finish:
        yield "return_finish", True


def _sampling(prompt: PlannedPrompt, sampling: Sampling) -> Iterator[tuple[Role, Any]]:
    if sampling.temperature == 0:
        yield "top_k", 1  # this is greedy sampling in every release, and a temperature of 0 is not
        return
    yield "temperature", sampling.temperature
    yield "top_k", sampling.top_k
    yield "top_p", sampling.top_p
    yield "seed", prompt.seed


def _raw(datatype: str, values: Any) -> tuple[bytes, int]:
    """(Bytes of a tensor, number of its elements)."""
    if datatype == "BYTES":
        text = values.encode()
        return _BYTES_LENGTH.pack(len(text)) + text, 1
    data = np.asarray(values, _DTYPES[datatype]).reshape(-1)
    return data.tobytes(), data.size


def _optional_integer(tensors: dict[str, Tensor], name: str) -> int | None:
    return integer(name, tensors[name]) if name in tensors else None


def _counts(tensors: dict[str, Tensor]) -> EngineCounts | None:
    """The engine's counts, without those that cannot be read as a count; None if none can."""
    counts = {field: _count(name, tensors[name]) for name, field in COUNT_OUTPUTS.items() if name in tensors}
    return EngineCounts(**counts) if any(value is not None for value in counts.values()) else None


def _count(name: str, tensor: Tensor) -> int | None:
    try:
        return integer(name, tensor)
    except ValueError:
        return None


def _times(tensors: dict[str, Tensor]) -> ServerTimes | None:
    """The server's instants; None unless all four are valid, in their order and within one day. A server without them may send zeros."""
    try:
        values = [integer(name, tensors[name], MOST_INSTANT_NS) for name in TIME_OUTPUTS]
    except (KeyError, ValueError):
        return None
    are_of_a_request = values == sorted(values) and values[-1] - values[0] <= _LONGEST_REQUEST_NS
    return ServerTimes(*values) if values[0] > 0 and are_of_a_request else None
