"""Steps, seconds and memory of a build, from the lines that TensorRT-LLM and TensorRT print."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from trtbench.engine.spec import BuildStep

_MIB = 1 << 20
_CLOCK = r"(?P<clock>\d+:\d{2}:\d{2})"
_SECONDS = r"(?P<seconds>\d+(?:\.\d+)?)"

_STEPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"Total time of reading and converting: {_SECONDS} s\b"), "read and convert"),
    (re.compile(rf"Total time of saving checkpoint: {_SECONDS} s\b"), "save checkpoint"),
    (re.compile(rf"Total time of converting checkpoints: {_CLOCK}"), "convert checkpoint, total"),
    (re.compile(rf"Quantization done\. Total time used: {_SECONDS} s\b"), "quantise"),
    (re.compile(rf"Total time of constructing network from module object {_SECONDS} seconds"), "construct network"),
    (re.compile(rf"Total time to initialize the weights in network [^:]*: {_CLOCK}"), "initialise weights"),
    (re.compile(rf"Engine generation completed in {_SECONDS} seconds"), "generate engine"),
    (re.compile(rf"Engine serialized\. Total time: {_CLOCK}"), "serialise engine"),
    (re.compile(rf"Total time of building all engines: {_CLOCK}"), "build engines, total"),
    (re.compile(rf"Total time of building (?!all engines)[^:\n]+: {_CLOCK}"), "build network"),
)
_HOST = (
    re.compile(r"Peak memory usage during Engine building and serialization: CPU: (?P<mib>\d+(?:\.\d+)?) MiB"),
    # "Peak" is TensorRT-LLM's word: it is the memory held at the end. It says MB and divides by 1024 twice.
    re.compile(r"Build phase peak memory: (?P<mib>\d+(?:\.\d+)?) MB"),
)
_GPU = (re.compile(r"Peak memory usage of TRT CPU/GPU memory allocators: CPU \d+ MiB, GPU (?P<mib>\d+(?:\.\d+)?) MiB"),)


@dataclass(frozen=True)
class BuildLogFacts:
    """`steps` as printed, in their order; a total contains steps before it. Peaks are of the largest rank; None: not printed."""

    steps: tuple[BuildStep, ...]
    peak_host_bytes: int | None
    peak_gpu_bytes: int | None

    def as_options(self) -> dict[str, Any]:
        """For engine.json; empty when the log said nothing."""
        facts = {"log_steps": [asdict(step) for step in self.steps]} if self.steps else {}
        peaks = {"peak_host_bytes": self.peak_host_bytes, "peak_gpu_bytes": self.peak_gpu_bytes}
        return facts | {name: value for name, value in peaks.items() if value is not None}


def parse_build_log(text: str) -> BuildLogFacts:
    """Never fails: a line that is not known says nothing."""
    found = [step for line in text.splitlines() for step in _steps(line)]
    return BuildLogFacts(tuple(found), _largest_bytes(text, _HOST), _largest_bytes(text, _GPU))


def _steps(line: str) -> list[BuildStep]:
    matches = ((pattern.search(line), label) for pattern, label in _STEPS)
    return [BuildStep(label, _read_seconds(match)) for match, label in matches if match]


def _read_seconds(match: re.Match[str]) -> float:
    read: Callable[[str], float] = _clock_seconds if "clock" in match.re.groupindex else float
    return read(match[1])


def _clock_seconds(text: str) -> float:
    hours, minutes, seconds = map(int, text.split(":"))
    return float(hours * 3600 + minutes * 60 + seconds)


def _largest_bytes(text: str, patterns: tuple[re.Pattern[str], ...]) -> int | None:
    """Each rank prints its own."""
    return max((round(float(match["mib"]) * _MIB) for pattern in patterns for match in pattern.finditer(text)), default=None)
