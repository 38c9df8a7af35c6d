"""What the classes of the installed TensorRT-LLM take, as they say it themselves.

`python -m trtbench.engine.tensorrt_llm.api_names` prints, as JSON, the keywords of the PyTorch
backend's LLM and the fields of its configurations.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from trtbench.engine.child import environment
from trtbench.engine.tensorrt_llm.versions import installed
from trtbench.system.leftovers import temporary_directory

_ARGUMENTS = "tensorrt_llm.llmapi.llm_args"
_CONFIGURATIONS = {"kv_cache_config": "KvCacheConfig", "scheduler_config": "SchedulerConfig", "cuda_graph_config": "CudaGraphConfig"}
_LIMIT_S = 300


def find(name: str) -> Any:
    """A class of TensorRT-LLM's public names: `tensorrt_llm.llmapi` has them in every release on record, the package itself in some."""
    for module in ("tensorrt_llm.llmapi", "tensorrt_llm"):
        if found := getattr(importlib.import_module(module), name, None):
            return found
    raise ImportError(f"{name} is in neither tensorrt_llm.llmapi nor tensorrt_llm")


def names_of(kind: Any) -> set[str] | None:
    """The keywords of `kind`; None when it does not say."""
    if (fields := getattr(kind, "model_fields", None)) is not None:
        return {getattr(field, "alias", None) or name for name, field in fields.items()}
    if dataclasses.is_dataclass(kind):
        return {one.name.lstrip("_") for one in dataclasses.fields(kind)}  # slots forms store under _name
    return None


def engine_arguments() -> Any:
    """The class that the engine LLM hands its keywords to: LlmArgs in 0.20, from 0.21 on TrtLlmArgs."""
    module = importlib.import_module(_ARGUMENTS)
    return getattr(module, "TrtLlmArgs", None) or module.LlmArgs


@cache
def installed_llm_names() -> Mapping[str, list[str]]:
    """`LLM` and each configuration to its names; empty where none is installed, or its import fails. Half a minute: a child imports it."""
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
