"""The TensorRT-LLM LLM API (PyTorch backend) provider: what stands in its way on this machine."""

from __future__ import annotations

from pathlib import Path

from trtbench.engine.spec import BuildLog, EngineError
from trtbench.engine.tensorrt_llm import nvidia_stack_missing
from trtbench.scenario import Dtype


class LlmApiProvider:
    name = "llmapi"
    kv_block_tokens = 32

    def unavailable(self) -> str | None:
        return nvidia_stack_missing() or "this version of trtbench does not serve the LLM API; use `trtbench bench` on a running server"

    def versions(self) -> dict[str, str]:
        return {}

    def build(self, checkpoint: Path, dtype: Dtype, output: Path, log: BuildLog) -> None:
        raise EngineError(str(self.unavailable()))
