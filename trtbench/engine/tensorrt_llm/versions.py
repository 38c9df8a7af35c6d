"""The installed TensorRT-LLM, the features of each release line, and the keywords that its classes take.

`python -m trtbench.engine.tensorrt_llm.versions` prints, as JSON, the keywords of the PyTorch backend's LLM and the fields of its
configurations. Only that child and build.py import tensorrt_llm, which takes half a minute and a GPU.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trtbench.engine.child import environment
from trtbench.system.leftovers import temporary_directory

_TENSORRT = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")

ENGINE_LINES = ((1, 0), (1, 1), (1, 2))
"""Release lines with TensorRT engines that trtbench builds and serves."""

ENGINE_LLM = "tensorrt_llm._tensorrt_engine"
"""The module whose class LLM builds TensorRT engines; `tensorrt_llm.LLM` is the PyTorch backend."""

FIRST_LLMAPI = (1, 0)


@dataclass(frozen=True)
class TensorRtLlm:
    """An installed or requested version, as 1.2.1 or 1.2.0rc2."""

    text: str

    @property
    def line(self) -> tuple[int, int]:
        """(1, 2) of 1.2.1; (0, 0) if the text is not a version."""
        found = re.match(r"(\d+)\.(\d+)", self.text)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def builds_no_engines(self) -> str | None:
        """The reason why trtbench cannot build TensorRT engines with it, with the remedy; None if it can."""
        known = ", ".join(f"{major}.{minor}" for major, minor in ENGINE_LINES)
        if self.line > max(ENGINE_LINES):
            return (
                f"TensorRT-LLM {self.text} has no TensorRT engines any more (1.2 is the last line with them); use provider llmapi, "
                f"or a container with one of {known}"
            )
        if self.line not in ENGINE_LINES:
            return f"TensorRT-LLM {self.text} is not one of {known}, with which trtbench builds; use a container with one of them"
        return None

    def serves_no_llmapi(self) -> str | None:
        if self.line < FIRST_LLMAPI:
            return f"TensorRT-LLM {self.text} has no stable PyTorch backend (1.0 is the first); use provider tensorrt_llm"
        return None


def release(text: str) -> tuple[str, ...]:
    """Three numbers and a pre-release, which an engine and its runtime must share: 1.2.0rc2 differs from 1.2.0, and 1.0.3.2510 of 25.11
    is 1.0.3.
    """
    found = re.match(r"(\d+)\.(\d+)\.(\d+)(?:\.?(rc|a|b)(\d+))?", text)
    return tuple(part or "" for part in found.groups()) if found else (text,)


def installed() -> TensorRtLlm | None:
    return TensorRtLlm(found) if (found := package_version("tensorrt_llm")) else None


def tensorrt_version() -> str | None:
    return next(filter(None, map(package_version, _TENSORRT)), None)


def package_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


_ARGUMENTS = "tensorrt_llm.llmapi.llm_args"
_CONFIGURATIONS = {"kv_cache_config": "KvCacheConfig", "scheduler_config": "SchedulerConfig", "cuda_graph_config": "CudaGraphConfig"}
_LIMIT_S = 300


def find(name: str) -> Any:
    """A class by a public name of TensorRT-LLM: `tensorrt_llm.llmapi` has them in every recorded release, the package itself in some."""
    for module in ("tensorrt_llm.llmapi", "tensorrt_llm"):
        if found := getattr(importlib.import_module(module), name, None):
            return found
    raise ImportError(f"{name} is in neither tensorrt_llm.llmapi nor tensorrt_llm")


def names_of(kind: Any) -> set[str] | None:
    """The keywords of `kind`; None if they are unknown."""
    if (fields := getattr(kind, "model_fields", None)) is not None:
        return {getattr(field, "alias", None) or name for name, field in fields.items()}
    if dataclasses.is_dataclass(kind):
        return {one.name.lstrip("_") for one in dataclasses.fields(kind)}  # slots forms store under _name
    return None


def engine_arguments() -> Any:
    """The class that receives the keywords of the engine LLM."""
    return importlib.import_module(_ARGUMENTS).TrtLlmArgs


@cache
def installed_llm_names() -> Mapping[str, list[str]]:
    """The keywords of `LLM` and of each configuration, by class; empty if none is installed, or if the import fails. A child imports
    it, which takes half a minute.
    """
    if not installed():
        return {}
    command = [sys.executable, "-m", __name__]
    try:
        with temporary_directory() as scratch:  # not in the user's directory, whose files would be imported in place of packages
            done = subprocess.run(
                command,
                cwd=scratch,
                env=environment(Path(scratch)),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_LIMIT_S,
                check=True,
            )
        said = done.stdout
        names: dict[str, list[str]] = json.loads(said.splitlines()[-1])  # its imports print too
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return {}
    return names


def _llm_names() -> dict[str, list[str]]:
    kinds = {"LLM": importlib.import_module(_ARGUMENTS).TorchLlmArgs} | {key: find(name) for key, name in _CONFIGURATIONS.items()}
    return {key: sorted(names_of(kind) or ()) for key, kind in kinds.items()}


if __name__ == "__main__":
    print(json.dumps(_llm_names()))
