"""The tensors of an encoder, as its server's model configuration has them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from tritonclient.grpc import model_config_pb2

from trtbench.system.foreign_text import names, shown

INPUT_IDS, ATTENTION_MASK, TOKEN_TYPE_IDS = "input_ids", "attention_mask", "token_type_ids"
ENCODER_INPUTS = frozenset({INPUT_IDS, ATTENTION_MASK, TOKEN_TYPE_IDS})
_OUTPUTS = ("embedding", "sentence_embedding", "embeddings", "pooler_output", "last_hidden_state")
"""In the order in which one is chosen; of a model that has none of them, its first."""
INPUT_DATATYPES = {"INT32": "<i4", "INT64": "<i8"}
OUTPUT_BYTES = {"FP64": 8, "FP32": 4, "FP16": 2, "BF16": 2, "INT8": 1, "UINT8": 1}


@dataclass(frozen=True)
class EncoderTensors:
    """`inputs`: KServe datatype by name. `values` of the output, for one request; None where its shape depends on the input.

    `pad_tokens`: every request is padded to so many, for a server that batches equal shapes only; 0: each is as long as it is.
    """

    inputs: dict[str, str]
    output: str
    output_datatype: str
    values: int | None
    ragged: bool
    pad_tokens: int = 0

    @property
    def needs_padding(self) -> bool:
        """Requests of different lengths would never share a batch."""
        return not self.ragged and not self.pad_tokens

    @property
    def can_pad(self) -> bool:
        """Padding changes no answer: a mask says what is padding."""
        return ATTENTION_MASK in self.inputs


def read_tensors(config: Any) -> EncoderTensors:
    """From an inference.ModelConfig; ValueError says what an encoder has not, or has more."""
    if config.model_transaction_policy.decoupled:
        raise ValueError("is decoupled: it streams, an encoder gives one answer; leave out --task embed (task: generate)")
    inputs = {tensor.name: datatype_of(tensor) for tensor in config.input if not tensor.optional or tensor.name in ENCODER_INPUTS}
    if INPUT_IDS not in inputs:
        raise ValueError(f"has no input_ids (it takes {names(inputs)}): name a model that takes token ids")
    if unknown := sorted(set(inputs) - ENCODER_INPUTS):
        raise ValueError(f"needs {names(unknown)} too: of an encoder {', '.join(sorted(ENCODER_INPUTS))} are known")
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
    """KServe's name of the type that a model configuration gives a tensor; INVALID where it gives none, its number of a type not known."""
    if tensor.data_type not in model_config_pb2.DataType.values():
        return f"type {tensor.data_type}"
    return str(model_config_pb2.DataType.Name(tensor.data_type)).removeprefix("TYPE_").replace("STRING", "BYTES")
