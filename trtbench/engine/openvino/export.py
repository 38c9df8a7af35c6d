"""`python -m trtbench.engine.openvino.export CHECKPOINT DTYPE OUT`: export a checkpoint to OpenVINO, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import openvino as ov
from openvino import opset13 as ops
from optimum.intel import OVModelForCausalLM, OVModelForFeatureExtraction
from transformers import AutoTokenizer

from trtbench.engine.checkpoint import model_facts
from trtbench.engine.checkpoint_files import sentence_modules
from trtbench.tasks.embed import EMBED
from trtbench.tasks.generate import GENERATE

_LEAST_NORM = 1e-12  # as torch's normalize has it


def export(checkpoint: Path, dtype: str, output: Path) -> None:
    """FP16 weights, or INT8 weight-only (NNCF: asymmetric, per channel). What an encoder computes ends with its pooled embedding."""
    _EXPORTS[model_facts(str(checkpoint)).task](checkpoint, dtype == "int8", output)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(output)


def _export_encoder(checkpoint: Path, int8: bool, output: Path) -> None:
    exported = OVModelForFeatureExtraction.from_pretrained(checkpoint, export=True, compile=False, load_in_8bit=int8)
    ov.save_model(pooled(exported.model, *sentence_modules(checkpoint)), output / "openvino_model.xml", compress_to_fp16=True)
    exported.config.save_pretrained(output)


def _export_decoder(checkpoint: Path, int8: bool, output: Path) -> None:
    OVModelForCausalLM.from_pretrained(checkpoint, export=True, compile=False, load_in_8bit=int8).save_pretrained(output)


_EXPORTS = {GENERATE.name: _export_decoder, EMBED.name: _export_encoder}


def pooled(model: Any, pooling: str, normalise: bool) -> Any:
    """The ov.Model with one output `embedding`, f32 [batch, hidden], of the tokens [batch, tokens, hidden] that the mask has."""
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


if __name__ == "__main__":
    export(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
