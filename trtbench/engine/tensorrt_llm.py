"""The TensorRT-LLM engine provider: what stands in its way on this machine."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path

from trtbench.engine.spec import BuildLog, EngineError
from trtbench.scenario import Dtype


class TensorRtLlmProvider:
    name = "tensorrt_llm"
    kv_block_tokens = 32

    def unavailable(self) -> str | None:
        return nvidia_stack_missing() or "this version of trtbench does not build TensorRT-LLM engines; use `trtbench bench` on a server"

    def versions(self) -> dict[str, str]:
        return {}

    def build(self, checkpoint: Path, dtype: Dtype, output: Path, log: BuildLog) -> None:
        raise EngineError(str(self.unavailable()))


def nvidia_stack_missing() -> str | None:
    """The first part of NVIDIA's stack that this machine lacks, as a sentence; None when all are there."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver on this machine (libcuda.so.1 is not found); run on a GPU node, in the NGC Triton + TensorRT-LLM container"
    if find_spec("tensorrt_llm") is None:
        return "the package tensorrt_llm is not installed; run in the NGC Triton + TensorRT-LLM container"
    return None
