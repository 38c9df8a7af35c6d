"""`python -m trtbench.engine.openvino_export CHECKPOINT DTYPE OUT`: export a checkpoint to OpenVINO, in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import openvino as ov
from openvino import opset13 as ops
from optimum.intel import OVModelForCausalLM, OVModelForFeatureExtraction
from transformers import AutoTokenizer

from trtbench.engine.checkpoint import model_facts

_LEAST_NORM = 1e-12  # as torch's normalize has it


def export(checkpoint: Path, dtype: str, output: Path) -> None:
    """FP16 weights, or INT8 weight-only (NNCF: asymmetric, per channel). What an encoder computes ends with its pooled embedding."""
    int8 = dtype == "int8"
    if model_facts(str(checkpoint)).task == "embed":
        exported = OVModelForFeatureExtraction.from_pretrained(checkpoint, export=True, compile=False, load_in_8bit=int8)
        ov.save_model(pooled(exported.model, *sentence_modules(checkpoint)), output / "openvino_model.xml", compress_to_fp16=True)
        exported.config.save_pretrained(output)
    else:
        model = OVModelForCausalLM.from_pretrained(checkpoint, export=True, compile=False, load_in_8bit=int8)
        model.save_pretrained(output)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(output)


def sentence_modules(checkpoint: Path) -> tuple[str, bool]:
    """(`mean` or `cls`, whether the embedding is normalised), as the checkpoint's sentence-transformers modules say; without them as
    that library does by default. ValueError for another kind of pooling."""
    if not (checkpoint / "modules.json").is_file():
        return "mean", False
    modules = json.loads((checkpoint / "modules.json").read_text(encoding="utf-8"))
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if unknown := set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        raise ValueError(f"{checkpoint}/modules.json has {', '.join(sorted(unknown))}: only Transformer, Pooling and Normalize are known")
    asked = {}
    if "Pooling" in kinds:
        asked = json.loads((checkpoint / modules[kinds.index("Pooling")]["path"] / "config.json").read_text(encoding="utf-8"))
    modes = [key.removeprefix("pooling_mode_") for key, on in asked.items() if key.startswith("pooling_mode_") and on] or ["mean_tokens"]
    pooling = {"mean_tokens": "mean", "cls_token": "cls"}.get(modes[0])
    if len(modes) > 1 or pooling is None:
        raise ValueError(f"{checkpoint} pools by {', '.join(modes)}: only mean_tokens and cls_token are known")
    return pooling, "Normalize" in kinds


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
