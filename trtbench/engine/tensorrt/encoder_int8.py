"""`python -m trtbench.engine.tensorrt.encoder_int8 PLAN.json` inserts INT8 Q/DQ pairs into an encoder's FP16 ONNX, in a process of its
own.

TensorRT requires explicit quantisation: symmetric, weights per channel, and Q/DQ before weights too. The linear layers are quantised.
Attention stays in FP16, for which TensorRT has fused kernels. The narrowing layers, the second of each feed-forward, also stay in FP16:
the few large values behind its activation would leave no quantisation steps for the other values (docs/encoder.md has the cost).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from tokenizers import Tokenizer

_LINEAR = ("MatMul", "Gemm")


class Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: Sequence[Sequence[int]]) -> None:
        self._left = iter(samples)

    def get_next(self) -> dict[str, Any] | None:
        """The next sample's inputs; None after the last."""
        if (found := next(self._left, None)) is None:
            return None
        ids = np.array([found], np.int32)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def linear_layers(model: Any) -> list[str]:
    """Names of the nodes to quantise: those that multiply by weights and do not narrow. ValueError if there are none."""
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    multiplied = [node for node in model.graph.node if node.op_type in _LINEAR and len(weights.get(node.input[1], ())) == 2]
    found = [node.name for node in multiplied if weights[node.input[1]][0] <= weights[node.input[1]][1]]
    if not found:
        raise ValueError("the exported graph has no MatMul or Gemm with constant weights: nothing could be quantised")
    return found


def tokenised(tokenizer_json: Path, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return [tokenizer.encode(text).ids for text in texts]


def quantise(source: Path, output: Path, samples: Sequence[Sequence[int]]) -> int:
    """Quantise the linear layers; returns how many."""
    layers = linear_layers(onnx.load(source, load_external_data=False))
    quantize_static(
        source,
        output,
        Samples(samples),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(_LINEAR),
        nodes_to_quantize=layers,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "AddQDQPairToWeight": True,
            "OpTypesToExcludeOutputQuantization": list(_LINEAR),
            "QuantizeBias": False,
        },
    )
    return len(layers)


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    given = tokenised(Path(plan["tokenizer"]), plan["texts"], plan["max_input_len"])
    layers = quantise(Path(plan["source"]), Path(plan["onnx"]), given)
    Path(plan["facts"]).write_text(json.dumps({"int8_layers": layers}), encoding="utf-8")
