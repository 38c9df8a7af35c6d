"""The tensors of any model on Triton, from its model configuration (task infer)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trtbench.client.kserve.encoder import datatype_of
from trtbench.client.kserve.response_tensors import MOST_DIMENSIONS, MOST_TENSORS
from trtbench.plan.sources.tensors.tensor import BYTES, NUMPY_TYPES, ModelTensors, TensorSpec
from trtbench.system.foreign_text import shown

_KNOWN = (*NUMPY_TYPES, BYTES)


def model_tensors(config: Any) -> ModelTensors:
    """The tensors of a model, from its inference.ModelConfig; ValueError says why trtbench cannot send to it."""
    if not config.input:
        raise ValueError("has no inputs: there is nothing to send")
    if not config.output:
        raise ValueError("has no outputs: there is no answer to measure")
    return ModelTensors(
        inputs=tuple(_specs(config.input)),
        outputs=tuple(_specs(config.output)),
        max_batch_size=config.max_batch_size,
        decoupled=config.model_transaction_policy.decoupled,
        keeps_state=config.HasField("sequence_batching"),
    )


def _specs(tensors: Any) -> Iterable[TensorSpec]:
    if len(tensors) > MOST_TENSORS:
        raise ValueError(f"has {len(tensors)} tensors on one side, at most {MOST_TENSORS} are sent or read")
    for tensor in tensors:
        name, datatype = shown(tensor.name, 80), datatype_of(tensor)
        if datatype not in _KNOWN:
            raise ValueError(f"has {name} of {datatype}: trtbench sends and reads {', '.join(_KNOWN)}")
        if len(tensor.dims) > MOST_DIMENSIONS or any(size == 0 or size < -1 for size in tensor.dims):
            raise ValueError(f"has {name} of shape {list(tensor.dims)[:MOST_DIMENSIONS]}, which is not a shape")
        yield TensorSpec(tensor.name, datatype, tuple(tensor.dims), getattr(tensor, "optional", False))
