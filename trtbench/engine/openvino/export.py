"""`python -m trtbench.engine.openvino.export CHECKPOINT DTYPE OUT` exports a checkpoint to OpenVINO, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import openvino as ov
from optimum.intel import OVModelForCausalLM, OVModelForFeatureExtraction
from transformers import AutoTokenizer

from trtbench.engine.checkpoint import model_facts
from trtbench.engine.checkpoint_files import sentence_modules
from trtbench.engine.openvino.classifier_export import export_classifier
from trtbench.engine.openvino.pooling import pooled
from trtbench.tasks.embed import EMBED
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.infer import INFER


def export(checkpoint: Path, dtype: str, output: Path) -> None:
    """Export FP16 weights, or INT8 weight-only (NNCF: asymmetric, per channel). The output of an encoder is its pooled embedding."""
    _EXPORTS[model_facts(str(checkpoint)).task](checkpoint, dtype == "int8", output)


def _export_encoder(checkpoint: Path, int8: bool, output: Path) -> None:
    exported = OVModelForFeatureExtraction.from_pretrained(checkpoint, export=True, compile=False, load_in_8bit=int8)
    ov.save_model(pooled(exported.model, *sentence_modules(checkpoint)), output / "openvino_model.xml", compress_to_fp16=True)
    exported.config.save_pretrained(output)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(output)


def _export_decoder(checkpoint: Path, int8: bool, output: Path) -> None:
    OVModelForCausalLM.from_pretrained(checkpoint, export=True, compile=False, load_in_8bit=int8).save_pretrained(output)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(output)


_EXPORTS = {GENERATE.name: _export_decoder, EMBED.name: _export_encoder, INFER.name: export_classifier}


if __name__ == "__main__":
    export(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
