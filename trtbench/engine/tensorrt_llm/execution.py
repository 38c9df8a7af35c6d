"""Executes the plan of a TensorRT-LLM build. Every step is a process, and every line that it prints is kept.

Steps, seconds and memory of the build are read from the lines that TensorRT-LLM and TensorRT print.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trtbench.engine.checkpoint import cache_folder, publish
from trtbench.engine.child import run_logged, scratch_beside
from trtbench.engine.spec import BuildJob, BuildLog, EngineError
from trtbench.engine.tensorrt_llm.adopt import copy_tokenizer
from trtbench.engine.tensorrt_llm.build_plan import llm_api_build, llm_api_variables, route, trtllm_build_command
from trtbench.engine.tensorrt_llm.quantisation import (
    SMOOTHQUANT_ALPHA,
    algorithm,
    calibrates,
    checkpoint_command,
    misread_as,
    read_texts,
    texts_sha256,
    write_texts,
)
from trtbench.engine.tensorrt_llm.versions import TensorRtLlm
from trtbench.rundir.event_kinds import BuildStep
from trtbench.system.leftovers import sweep_directory, temporary_directory

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
    """The facts of a build's log. `steps` as printed, in order; a total includes the steps before it. Peaks are those of the largest
    rank; None: not printed.
    """

    steps: tuple[BuildStep, ...]
    peak_host_bytes: int | None
    peak_gpu_bytes: int | None

    def as_options(self) -> dict[str, Any]:
        """The entries for engine.json; empty if the log has no such facts."""
        facts = {"log_steps": [asdict(step) for step in self.steps]} if self.steps else {}
        peaks = {"peak_host_bytes": self.peak_host_bytes, "peak_gpu_bytes": self.peak_gpu_bytes}
        return facts | {name: value for name, value in peaks.items() if value is not None}


def parse_build_log(text: str) -> BuildLogFacts:
    """The facts in a log. Unknown lines are ignored, so it never fails."""
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
    """The largest value, because each rank prints its own."""
    return max((round(float(match["mib"]) * _MIB) for pattern in patterns for match in pattern.finditer(text)), default=None)


BUILD_LOG = "build.log"
STEPS_FILE = "llm_api_steps.json"
RUNTIME_ERROR_FILE = "llm_api_runtime_error.txt"


@dataclass(frozen=True)
class Execution:
    job: BuildJob
    release: TensorRtLlm
    examples: Path | None
    architecture: str
    log: BuildLog

    def run(self) -> None:
        """Fill the job's output. EngineError if a step fails; its log and the completed steps before it stay in the cache."""
        printed = cache_folder("build-logs") / f"{self.job.output.name.lstrip('.')}.log"
        printed.unlink(missing_ok=True)  # of a build that failed under our process id, which in a container is often the same
        with scratch_beside(self.job.output) as scratch:
            calibration = self._calibration(scratch)
            if route(self.job.spec.dtype, self.job.spec.build, self.architecture) == "llm_api":
                self._by_llm_api(scratch, calibration, printed)
            else:
                self._by_programs(scratch, calibration, printed)
        copy_tokenizer(self.job.checkpoint, self.job.output)
        shutil.move(printed, self.job.output / BUILD_LOG)

    def _calibration(self, scratch: Path) -> tuple[Path, int] | None:
        if not calibrates(self.job.spec.dtype, self.job.spec.build):
            return None
        if word := misread_as(scratch):
            raise EngineError(
                f"the path {scratch} has {word!r} in it, by which TensorRT-LLM would take the calibration texts for that data set: "
                "name another directory for engines with --output"
            )
        texts = read_texts(self.job.spec.build)
        return write_texts(texts, scratch), len(texts)

    def _by_llm_api(self, scratch: Path, calibration: tuple[Path, int] | None, printed: Path) -> None:
        build = llm_api_build(self.job.spec, self.job.checkpoint, self.job.output, calibration)
        plan, workspace = scratch / "plan.json", scratch / "workspace"
        workspace.mkdir()
        build = replace(build, workspace=str(workspace))
        plan.write_text(json.dumps(build.as_json()), encoding="utf-8")
        with self.log.step(f"build by TensorRT-LLM {self.release.text}'s LLM API ({self._what()})"):
            command = [sys.executable, "-m", "trtbench.engine.tensorrt_llm.build", str(plan)]
            run_logged(command, printed, scratch, llm_api_variables(self.job.spec.build))

    def _by_programs(self, scratch: Path, calibration: tuple[Path, int] | None, printed: Path) -> None:
        converted = self._converted(scratch, calibration, printed)
        program = shutil.which("trtllm-build")
        if not program:
            raise EngineError("trtllm-build is not on PATH")
        with self.log.step(f"trtllm-build {self.release.text} ({self._what()})"):
            command = trtllm_build_command(self.job.spec, str(Path(program).absolute()), converted, self.job.output)
            run_logged(command, printed, scratch)

    def _converted(self, scratch: Path, calibration: tuple[Path, int] | None, printed: Path) -> Path:
        """The TensorRT-LLM checkpoint, from the cache or newly made, so that hours of calibration are not lost if the build after it
        fails.
        """
        path = cache_folder("trtllm-checkpoints") / f"{self.job.spec.dtype}-{self._converted_key()}"
        if path.is_dir():
            return path
        if not self.examples:
            raise EngineError("TensorRT-LLM's examples are not found; name their directory in TRTLLM_EXAMPLES")
        spec = self.job.spec
        sweep_directory(path.parent)
        with temporary_directory(".making-", path.parent) as making:
            made = Path(making) / "checkpoint"
            command = checkpoint_command(spec.dtype, spec.build, self.architecture, self.examples, self.job.checkpoint, made, calibration)
            with self.log.step(f"make a TensorRT-LLM checkpoint ({self._what()})"):
                run_logged(command, printed, scratch)
            publish(made, path)
        return path

    def _converted_key(self) -> str:
        options = self.job.spec.build
        shared = {"kv_dtype", "tp", "pp", "smoothquant", "dummy_weights"}
        key = options.model_dump(include=shared) | {
            "checkpoint": self.job.checkpoint_sha256,
            "dtype": self.job.spec.dtype,
            "release": self.release.text,
            "texts": texts_sha256(read_texts(options)) if calibrates(self.job.spec.dtype, options) else None,
            "alpha": SMOOTHQUANT_ALPHA,
        }
        return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]

    def _what(self) -> str:
        options = self.job.spec.build
        kv = f", {options.kv_dtype} KV cache" if options.kv_dtype != "auto" else ""
        ranks = f", tp {options.tp} x pp {options.pp}" if options.ranks > 1 else ""
        return f"{algorithm(self.job.spec.dtype, options) or self.job.spec.dtype}{kv}{ranks}"
