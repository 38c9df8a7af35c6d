"""Writes a package `tensorrt_llm` that stands in for the real one: its classes come from a recorded contract and refuse what is not in
it, its programs are program.py. For our own process and for the children that a build starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
UNWRITABLE = Path("/proc")
"""A working directory in which nobody can make a file, root included."""

SCRIPTS = {"models/core/llama/convert_checkpoint.py": "convert_checkpoint.py(llama)", "quantization/quantize.py": "quantize.py"}

_LLMAPI = """
from tests.contracts.stub_runtime import make_algorithms, make_class

PluginConfig = make_class("PluginConfig", {name!r}, {plugin_form!r})
_BuildConfig = make_class("BuildConfig", {name!r}, {build_form!r})
QuantConfig = make_class("QuantConfig", {name!r}, "dataclass")
CalibConfig = make_class("CalibConfig", {name!r}, "pydantic")
KvCacheConfig = make_class("KvCacheConfig", {name!r}, "pydantic")
SchedulerConfig = make_class("SchedulerConfig", {name!r}, "pydantic")
CudaGraphConfig = make_class("CudaGraphConfig", {name!r}, "pydantic")
QuantAlgo = make_algorithms({name!r})


class BuildConfig(_BuildConfig):
    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.plugin_config = PluginConfig()
"""

_ARGS = """
from tests.contracts.stub_runtime import make_args

{kind} = make_args({name!r}, {kind!r})
TorchLlmArgs = make_args({name!r}, "TorchLlmArgs")
"""

_LLM = """
from tests.contracts.stub_runtime import make_llm
from tensorrt_llm.llmapi import PluginConfig

LLM = make_llm({name!r}, {version!r}, PluginConfig)
"""

_PYTORCH_LLM = """
class LLM:
    def __init__(self, *arguments, **keywords):
        raise AssertionError("the PyTorch backend builds no engine")
"""


def write_stub(directory: Path, name: str, version: str, *, modelopt: bool = True) -> Path:
    """`name`: the contract's, as 1.2; `version`: what the package says it is. Returns the examples directory."""
    forms = {
        "plugin_form": "pydantic" if name == "1.2" else "slots",
        "build_form": "pydantic" if version.startswith("1.2") else "dataclass",
    }
    llm, pytorch = _LLM.format(name=name, version=version), _PYTORCH_LLM
    _write(directory / "tensorrt_llm" / "llmapi" / "__init__.py", _LLMAPI.format(name=name, **forms))
    _write(directory / "tensorrt_llm" / "llmapi" / "llm_args.py", _ARGS.format(name=name, kind="TrtLlmArgs"))
    _write(directory / "tensorrt_llm" / "__init__.py", pytorch)
    _write(directory / "tensorrt_llm" / "_tensorrt_engine" / "__init__.py", llm)
    if modelopt:
        _write(directory / "modelopt" / "__init__.py", "")
    for package, number in (("tensorrt_llm", version), ("tensorrt", "10.14.1.48")):
        _write(directory / f"{package}-{number}.dist-info" / "METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {number}\n")
    _program(directory / "bin" / "trtllm-build", "trtllm-build", name)
    for path, program in SCRIPTS.items():
        _program(directory / "examples" / path, program, name)
    return directory / "examples"


def environment(directory: Path) -> dict[str, str]:
    """For a process that is to find the stub, its programs and our tests' modules."""
    return {
        "PYTHONPATH": os.pathsep.join([str(directory), str(TESTS.parent)]),
        "PATH": f"{directory / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "TRTLLM_EXAMPLES": str(directory / "examples"),
        "TRTLLM_STUB_RECORD": str(directory / "record.jsonl"),
        "XDG_CACHE_HOME": str(directory / "cache"),
    }


def _program(path: Path, program: str, name: str) -> None:
    _write(path, f"#!{sys.executable}\nfrom tests.contracts.program import main\n\nmain({program!r}, {name!r})\n")
    path.chmod(0o755)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
