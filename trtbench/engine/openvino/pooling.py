"""The last operations of an exported encoder: the embedding of a text, pooled over the hidden states of its tokens.

This file is separate because it needs OpenVINO only, while `export` imports PyTorch and Transformers, which takes seconds.
"""

from __future__ import annotations

from typing import Any

import openvino as ov
from openvino import opset13 as ops

_LEAST_NORM = 1e-12  # as torch's normalize has it


def pooled(model: Any, pooling: str, normalise: bool) -> Any:
    """The ov.Model with one output `embedding`, f32 [batch, hidden], pooled over the tokens [batch, tokens, hidden] that the mask
    includes.
    """
    tokens = model.outputs[0].get_node().input_value(0)
    mask = next(found.output(0) for found in model.get_parameters() if "attention_mask" in found.output(0).get_names())
    if pooling == "cls":
        embedding = ops.gather(tokens, ops.constant(0), ops.constant(1))
    else:
        weights = ops.unsqueeze(ops.convert(mask, "f32"), ops.constant(2))
        embedding = ops.divide(ops.reduce_sum(ops.multiply(tokens, weights), 1), ops.reduce_sum(weights, 1))
    if normalise:
        embedding = ops.normalize_l2(embedding, 1, _LEAST_NORM, "max")
    embedding.output(0).set_names({"embedding"})
    return ov.Model([ops.result(embedding)], model.get_parameters(), "encoder")
