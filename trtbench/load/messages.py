"""KServe v2 gRPC messages of TensorRT-LLM's `tensorrt_llm` model: planned prompt to request bytes, response bytes to tokens."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tritonclient.grpc import service_pb2

from trtbench.load.embedding import embedding_request
from trtbench.load.plan import PlannedPrompt
from trtbench.load.target import TIME_OUTPUTS, Target
from trtbench.load.workload import TokenIds
from trtbench.records import ServerTimes
from trtbench.scenario import Sampling, Workload

STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
NO_END_ID = -1  # no token has this id: the model generates to the asked length

_TOKEN_OUTPUTS = ("output_ids", "sequence_length")
_ID_TAG = b"\x1a"  # ModelInferRequest.id: field 3, length-delimited
_DTYPES = {"INT32": "<i4", "UINT64": "<u8", "FP32": "<f4", "BOOL": "?"}


class Response(NamedTuple):
    """One message of a stream. `tokens` are the new ones only; `times` come with the last response of servers that have them."""

    tokens: Sequence[int] = ()
    final: bool = False
    error: str = ""
    times: ServerTimes | None = None
    model_version: str = ""


def request_body(target: Target, prompt: PlannedPrompt, workload: Workload, end_id: int, context: Sequence[int] = ()) -> bytes:
    """A serialised request without its id, which `with_request_id` adds.

    `end_id`: the token that ends the output, or NO_END_ID. `context`: token ids before the prompt's own.
    """
    request = service_pb2.ModelInferRequest(model_name=target.model, model_version=target.version)
    if prompt.priority:
        request.parameters["priority"].int64_param = prompt.priority  # the one type that every release of Triton takes
    if target.encoder:
        return embedding_request(request, target.encoder, target.batched, prompt)
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    input_ids = np.concatenate([np.asarray(context, np.int32), prompt.input_ids]) if len(context) else prompt.input_ids
    for name, dtype, values in _inputs(target, prompt, input_ids, workload, end_id):
        data = np.asarray(values, _DTYPES[dtype]).reshape(-1)
        shape = [1, data.size] if target.batched else [data.size]
        request.inputs.add(name=name, datatype=dtype, shape=shape)
        request.raw_input_contents.append(data.tobytes())
    for name in (*_TOKEN_OUTPUTS, *(TIME_OUTPUTS if target.gives_times else ())):
        request.outputs.add(name=name)
    body: bytes = request.SerializeToString()
    return body


def with_request_id(body: bytes, request_id: str) -> bytes:
    """The request with its id: protobuf reads concatenated messages as one, so a prompt is serialised once for all its requests."""
    encoded = request_id.encode()
    assert len(encoded) < 128, "a longer id needs a longer length prefix"
    return body + _ID_TAG + bytes([len(encoded)]) + encoded


def decode_response(message: bytes) -> Response:
    """A ModelStreamInferResponse's bytes, read. ValueError when they are not one."""
    try:
        stream = service_pb2.ModelStreamInferResponse.FromString(message)
    except Exception as error:  # protobuf's DecodeError has moved between its releases
        raise ValueError(f"not a ModelStreamInferResponse: {error}") from error
    infer = stream.infer_response
    parameters = infer.parameters
    tensors = dict(zip([tensor.name for tensor in infer.outputs], infer.raw_output_contents, strict=False))
    return Response(
        tokens=_tokens(tensors) if tensors else (),
        final="triton_final_response" in parameters and parameters["triton_final_response"].bool_param,
        error=stream.error_message,
        times=_times(tensors) if len(tensors) > len(_TOKEN_OUTPUTS) else None,
        model_version=infer.model_version,
    )


def _inputs(target: Target, prompt: PlannedPrompt, input_ids: TokenIds, workload: Workload, end_id: int) -> Iterator[tuple[str, str, Any]]:
    """(name, datatype, values) of what this request sends and the model has."""
    yield "input_ids", "INT32", input_ids
    yield "input_lengths", "INT32", len(input_ids)
    yield "request_output_len", "INT32", prompt.output_tokens
    optional: list[tuple[str, str, Any]] = [
        ("end_id", "INT32", end_id),
        ("streaming", "BOOL", workload.streaming),
        ("exclude_input_in_output", "BOOL", True),
        *_sampling_inputs(target, prompt, workload.sampling),
    ]
    if target.gives_times:
        optional.append(("return_perf_metrics", "BOOL", True))
    yield from (entry for entry in optional if entry[0] in target.inputs)


def _sampling_inputs(target: Target, prompt: PlannedPrompt, sampling: Sampling) -> list[tuple[str, str, Any]]:
    if sampling.temperature == 0:
        return [("runtime_top_k", "INT32", 1)]  # greedy in every release; a temperature of 0 is not
    return [
        ("temperature", "FP32", sampling.temperature),
        ("runtime_top_k", "INT32", sampling.top_k),
        ("runtime_top_p", "FP32", sampling.top_p),
        *([(target.seed_input, "UINT64", prompt.seed)] if target.seed_input else []),
    ]


def _tokens(tensors: dict[str, bytes]) -> list[int]:
    """New tokens of a response: output_ids [1, beam = 1, n], of which the first `sequence_length` count."""
    ids = array("i", tensors.get("output_ids", b""))
    lengths = array("i", tensors.get("sequence_length", b""))
    return ids[: lengths[0]].tolist() if lengths else ids.tolist()


def _times(tensors: dict[str, bytes]) -> ServerTimes | None:
    """INT64 [1, 1] each; None unless all four are there."""
    raw = [tensors.get(name, b"") for name in TIME_OUTPUTS]
    return ServerTimes(*(array("q", value)[0] for value in raw)) if all(raw) else None
