"""`python -m trtbench.engine.gguf FILE OUT`: a GGUF file to a Hugging Face checkpoint (FP16), in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def convert(gguf: Path, output: Path) -> None:
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float16).save_pretrained(output)
    AutoTokenizer.from_pretrained(**source).save_pretrained(output)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
