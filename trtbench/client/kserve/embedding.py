"""KServe v2 messages of an encoder: planned prompt to request bytes, response bytes to a word on whether they hold an embedding."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from trtbench.client.errors import classify, end
from trtbench.client.kserve.encoder_tensors import ATTENTION_MASK, INPUT_DATATYPES, INPUT_IDS, OUTPUT_BYTES, TOKEN_TYPE_IDS, EncoderTensors
from trtbench.client.kserve.response_tensors import MOST_DIMENSIONS
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord

KEPT_PROMPTS = 64
"""Of each stage: answers that are kept, for two precisions to be compared by."""
KEPT_VALUES = 1 << 16
"""The longest vector that is kept of an answer."""
_LONGEST_WORD = 64
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
_FLOATS = {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2"}


def embedding_request(request: service_pb2.ModelInferRequest, tensors: EncoderTensors, batched: bool, prompt: PlannedPrompt) -> bytes:
    """`request`, which names the model, with its tensors; serialised, without its id."""
    tokens = len(prompt.input_ids)
    padding = (0, max(tensors.pad_tokens - tokens, 0))
    values: dict[str, npt.NDArray[Any]] = {
        INPUT_IDS: np.pad(prompt.input_ids, padding),
        ATTENTION_MASK: np.pad(np.ones(tokens), padding),
        TOKEN_TYPE_IDS: np.zeros(tokens + padding[1]),
    }
    for name, datatype in tensors.inputs.items():
        data = values[name].astype(INPUT_DATATYPES[datatype])
        request.inputs.add(name=name, datatype=datatype, shape=[1, data.size] if batched else [data.size])
        request.raw_input_contents.append(data.tobytes())
    request.outputs.add(name=tensors.output)
    body: bytes = request.SerializeToString()
    return body


def take_answer(record: RequestRecord, message: bytes, tensors: EncoderTensors, done_ns: int) -> None:
    """Put the one answer of a request into its record: completed, or what is wrong with it."""
    record.model_version, fault = read_embedding(message, tensors)
    end(record, classify("", fault) if fault else Outcome.COMPLETED, fault, done_ns)
    if not fault and not record.warmup and record.prompt < KEPT_PROMPTS:
        record.embedding = _values(message, tensors)


def _values(message: bytes, tensors: EncoderTensors) -> list[float]:
    """Of an answer that `read_embedding` found right; [] of one that is no single vector of floats."""
    answer = service_pb2.ModelInferResponse.FromString(message)
    data = next(raw for tensor, raw in zip(answer.outputs, answer.raw_output_contents, strict=False) if tensor.name == tensors.output)
    if tensors.values is None or tensors.values > KEPT_VALUES:
        return []
    values: list[float] = _floats(tensors.output_datatype, data).astype(np.float32).tolist()
    return values


def _floats(datatype: str, data: bytes) -> npt.NDArray[Any]:
    """The values of a tensor of floats; none of one of integers. NumPy has no BF16: it is the upper half of an FP32."""
    if datatype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, _FLOATS[datatype]) if datatype in _FLOATS else np.empty(0)


def read_embedding(message: bytes, tensors: EncoderTensors) -> tuple[str, str]:
    """(The version of the model that answered, "" or what is wrong with the answer)."""
    try:
        answer = service_pb2.ModelInferResponse.FromString(message)
    except Exception as error:  # protobuf's DecodeError has moved between its releases
        return "", f"not a ModelInferResponse: {error}"
    version = answer.model_version[:_LONGEST_WORD]
    for tensor, data in zip(answer.outputs, answer.raw_output_contents, strict=False):
        if tensor.name == tensors.output:
            values = prod(tensor.shape) if len(tensor.shape) <= MOST_DIMENSIONS else 0
            return version, _fault(tensor.datatype[:_LONGEST_WORD], values, data, tensors)
    return version, f"the answer has no {tensors.output}"


def _fault(datatype: str, values: int, data: bytes, tensors: EncoderTensors) -> str:
    if datatype != tensors.output_datatype or not values or values * OUTPUT_BYTES[datatype] != len(data):
        return f"{tensors.output} is {values} values of {datatype} in {len(data)} bytes, the model promises {tensors.output_datatype}"
    if tensors.values is not None and values != tensors.values:
        return f"{tensors.output} has {values} values, the model promises {tensors.values}"
    if not np.isfinite(_floats(datatype, data)).all():
        return f"{tensors.output} has values that are no finite numbers"
    return ""
