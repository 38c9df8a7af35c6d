"""KServe v2 messages of a model that embeds: its tensors, by the model configuration, and the bytes of its requests and answers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import model_config_pb2, service_pb2

from trtbench.client.kserve.response_tensors import MOST_DIMENSIONS
from trtbench.client.request_outcome import classify, end
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.foreign_text import names, shown

INPUT_IDS, ATTENTION_MASK, TOKEN_TYPE_IDS = "input_ids", "attention_mask", "token_type_ids"
ENCODER_INPUTS = frozenset({INPUT_IDS, ATTENTION_MASK, TOKEN_TYPE_IDS})
_OUTPUTS = ("embedding", "sentence_embedding", "embeddings", "pooler_output", "last_hidden_state")
"""The known names of an embedding; the first that a model has is used, and its first output if it has none of them."""
INPUT_DATATYPES = {"INT32": "<i4", "INT64": "<i8"}
OUTPUT_BYTES = {"FP64": 8, "FP32": 4, "FP16": 2, "BF16": 2, "INT8": 1, "UINT8": 1}


@dataclass(frozen=True)
class EncoderTensors:
    """The tensors of a model that embeds. `inputs` are KServe's datatypes by name. `values` is the number of values in the output of one
    request, or None if its shape depends on the input.

    `pad_tokens` is the length to which every input is padded, for a server that batches only equal shapes; 0 means no padding.
    """

    inputs: dict[str, str]
    output: str
    output_datatype: str
    values: int | None
    ragged: bool
    pad_tokens: int = 0

    @property
    def needs_padding(self) -> bool:
        """Whether requests of different lengths never share a batch."""
        return not self.ragged and not self.pad_tokens

    @property
    def can_pad(self) -> bool:
        """Whether padding changes no answer, because a mask marks it."""
        return ATTENTION_MASK in self.inputs


def read_tensors(config: Any) -> EncoderTensors:
    """The tensors of a model, from its inference.ModelConfig; ValueError says why it is not a model that embeds."""
    if config.model_transaction_policy.decoupled:
        raise ValueError("is decoupled, so it streams, but an encoder gives one answer; leave out --task embed (task: generate)")
    inputs = {tensor.name: datatype_of(tensor) for tensor in config.input if not tensor.optional or tensor.name in ENCODER_INPUTS}
    if INPUT_IDS not in inputs:
        raise ValueError(f"has no input_ids (it takes {names(inputs)}): name a model that takes token ids")
    if unknown := sorted(set(inputs) - ENCODER_INPUTS):
        raise ValueError(f"needs {names(unknown)} too, but trtbench can send only {', '.join(sorted(ENCODER_INPUTS))}")
    if wrong := [f"{name} {datatype}" for name, datatype in inputs.items() if datatype not in INPUT_DATATYPES]:
        raise ValueError(f"takes {names(wrong)}: token ids are {' or '.join(INPUT_DATATYPES)}")
    if not config.output:
        raise ValueError("has no output: there is no embedding to receive")
    by_name = {tensor.name: tensor for tensor in config.output}
    output = by_name[next((name for name in _OUTPUTS if name in by_name), config.output[0].name)]
    if datatype_of(output) not in OUTPUT_BYTES:
        raise ValueError(f"answers with {shown(output.name)} {datatype_of(output)}: an embedding is {', '.join(OUTPUT_BYTES)}")
    return EncoderTensors(
        inputs=inputs,
        output=output.name,
        output_datatype=datatype_of(output),
        values=prod(output.dims) if output.dims and all(size > 0 for size in output.dims) else None,
        pad_tokens=next((max(tensor.dims[-1], 0) for tensor in config.input if tensor.name == INPUT_IDS and tensor.dims), 0),
        ragged=all(tensor.allow_ragged_batch for tensor in config.input if tensor.name in inputs),
    )


def datatype_of(tensor: Any) -> str:
    """KServe's name of a tensor's type in a model configuration: INVALID if it has none, "type NUMBER" if the type is unknown."""
    if tensor.data_type not in model_config_pb2.DataType.values():
        return f"type {tensor.data_type}"
    return str(model_config_pb2.DataType.Name(tensor.data_type)).removeprefix("TYPE_").replace("STRING", "BYTES")


KEPT_PROMPTS = 64
"""The number of answers of each stage that are kept, so that two precisions can be compared."""
KEPT_VALUES = 1 << 16
"""The longest vector of an answer that is kept."""
_LONGEST_WORD = 64
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
_FLOATS = {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2"}


def embedding_request(request: service_pb2.ModelInferRequest, tensors: EncoderTensors, batched: bool, prompt: PlannedPrompt) -> bytes:
    """The bytes of a request without its id: `request`, which names the model, with the tensors of `prompt`."""
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


def end_with_embedding(record: RequestRecord, message: bytes, done_ns: int, tensors: EncoderTensors) -> None:
    """End a request with its one answer, as completed or with what is wrong with the answer."""
    record.model_version, fault = read_embedding(message, tensors)
    end(record, classify("", fault) if fault else Outcome.COMPLETED, fault, done_ns)
    if not fault and not record.warmup and record.prompt < KEPT_PROMPTS:
        record.embedding = _values(message, tensors)


def _values(message: bytes, tensors: EncoderTensors) -> list[float]:
    """The vector of an answer that `read_embedding` has accepted; empty if it is not a single vector of floats, or too long."""
    answer = service_pb2.ModelInferResponse.FromString(message)
    data = next(raw for tensor, raw in zip(answer.outputs, answer.raw_output_contents, strict=False) if tensor.name == tensors.output)
    if tensors.values is None or tensors.values > KEPT_VALUES:
        return []
    values: list[float] = _floats(tensors.output_datatype, data).astype(np.float32).tolist()
    return values


def _floats(datatype: str, data: bytes) -> npt.NDArray[Any]:
    """The values of a tensor of floats; empty for integers. NumPy has no BF16, which is the upper half of an FP32."""
    if datatype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, _FLOATS[datatype]) if datatype in _FLOATS else np.empty(0)


def read_embedding(message: bytes, tensors: EncoderTensors) -> tuple[str, str]:
    """(Version of the model that answered, what is wrong with the answer or an empty text)."""
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
        return f"{tensors.output} has values that are not finite numbers"
    return ""
