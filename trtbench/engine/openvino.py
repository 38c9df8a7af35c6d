"""The CPU provider: OpenVINO engines, FP16 or INT8 weight-only, served with in-flight batching and a paged KV cache."""

from __future__ import annotations

import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from trtbench.engine.child import run_module
from trtbench.engine.spec import BuildLog
from trtbench.scenario import Dtype

_MODULES = {"openvino": "openvino", "openvino_genai": "openvino-genai", "optimum.intel": "optimum-intel", "nncf": "nncf", "torch": "torch"}
_VERSIONED = ("openvino", "openvino-genai", "optimum-intel", "nncf", "torch", "transformers")


class OpenVinoProvider:
    name = "openvino"
    kv_block_tokens = 32  # fixed by OpenVINO's CPU plugin

    def unavailable(self) -> str | None:
        if platform.machine() not in ("x86_64", "AMD64"):
            return f"OpenVINO's continuous batching needs an x86-64 processor; this is {platform.machine()}"
        missing = [package for module, package in _MODULES.items() if not _importable(module)]
        if missing:
            return f"not installed: {', '.join(missing)}; `make setup` installs the pinned CPU stack"
        return None

    def versions(self) -> dict[str, str]:
        return {package: version(package) for package in _VERSIONED}

    def build(self, checkpoint: Path, dtype: Dtype, output: Path, log: BuildLog) -> None:
        what = "export to OpenVINO, FP16 weights" if dtype == "fp16" else "export to OpenVINO, compress weights to INT8 (NNCF)"
        with log.step(what):
            run_module("trtbench.engine.openvino_export", str(checkpoint), dtype, str(output))


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
