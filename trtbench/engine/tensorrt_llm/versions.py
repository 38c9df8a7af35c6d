"""Which TensorRT-LLM is installed, and what each release line offers. Nothing is imported: that takes a GPU and half a minute."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

_TENSORRT = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")

ENGINE_LLM = {
    (0, 20): "tensorrt_llm",
    (0, 21): "tensorrt_llm",
    (1, 0): "tensorrt_llm._tensorrt_engine",
    (1, 1): "tensorrt_llm._tensorrt_engine",
    (1, 2): "tensorrt_llm._tensorrt_engine",
}
"""Release line: the module whose class LLM builds TensorRT engines. From 1.0 on `tensorrt_llm.LLM` is the PyTorch backend."""

FIRST_LLMAPI = (1, 0)


@dataclass(frozen=True)
class TensorRtLlm:
    """An installed or asked-for version, as 1.2.1 or 1.2.0rc2."""

    text: str

    @property
    def line(self) -> tuple[int, int]:
        """(1, 2) of 1.2.1; (0, 0) when the text is no version."""
        found = re.match(r"(\d+)\.(\d+)", self.text)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def builds_no_engines(self) -> str | None:
        """Why it is not one that trtbench builds TensorRT engines with, with the remedy; None when it is."""
        known = ", ".join(f"{major}.{minor}" for major, minor in ENGINE_LLM)
        if self.line > max(ENGINE_LLM):
            return (
                f"TensorRT-LLM {self.text} has no TensorRT engines any more (1.2 is the last line with them); use provider llmapi, "
                f"or a container with one of {known}"
            )
        if self.line not in ENGINE_LLM:
            return f"TensorRT-LLM {self.text} is none of {known}, which trtbench builds with; use a container with one of them"
        return None

    def serves_no_llmapi(self) -> str | None:
        if self.line < FIRST_LLMAPI:
            return f"TensorRT-LLM {self.text} has no PyTorch backend to rely on (from 1.0 on); use provider tensorrt_llm"
        return None


def release(text: str) -> tuple[str, ...]:
    """Three numbers and a pre-release, which decide whether an engine is read: 1.2.0rc2 is none of 1.2.0, 25.11's 1.0.3.2510 is 1.0.3."""
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
