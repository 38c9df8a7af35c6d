"""`python -m trtbench.engine.openvino_export CHECKPOINT DTYPE OUT`: export a checkpoint to OpenVINO, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from optimum.intel import OVModelForCausalLM
from transformers import AutoTokenizer


def export(checkpoint: Path, dtype: str, output: Path) -> None:
    """FP16 weights, or INT8 weight-only (NNCF: asymmetric, per channel)."""
    model = OVModelForCausalLM.from_pretrained(checkpoint, export=True, compile=False, load_in_8bit=dtype == "int8")
    model.save_pretrained(output)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(output)


if __name__ == "__main__":
    export(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
