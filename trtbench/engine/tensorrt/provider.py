"""The TensorRT provider builds encoders of the BERT family, through ONNX, to one plan on an NVIDIA GPU, in FP16 or INT8 (Q/DQ)."""

from __future__ import annotations

import ctypes
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trtbench.engine.checkpoint import cache_directory, first_position, model_facts
from trtbench.engine.checkpoint_files import sentence_modules
from trtbench.engine.child import run_logged, scratch_beside
from trtbench.engine.spec import BuildJob, BuildLog, BuiltFacts, EngineError, EngineForecast, EngineSpec, ModelFacts
from trtbench.engine.tensorrt.runtime import other_version
from trtbench.engine.tensorrt_llm.adopt import ON_GPU, copy_tokenizer
from trtbench.engine.tensorrt_llm.quantisation import read_texts, texts_sha256
from trtbench.engine.tensorrt_llm.refusals import unlike
from trtbench.engine.tensorrt_llm.versions import package_version, tensorrt_version
from trtbench.rundir.lines import read_json, write_json
from trtbench.rundir.traits import Traits
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.system.cuda import CudaGpu, no_gpu, visible_gpus
from trtbench.tasks.embed import EMBED

PLAN = "model.plan"
BUILD_LOG = "build.log"
MAJORS = (10, 11)
"""The TensorRT versions whose Python API is recorded (tests/contracts)."""

_TAKES = {"max_batch_size", "max_input_len", "calibration_dir", "calibration_samples"}
_PACKAGES = ("torch", "transformers", "onnx")
_INT8_PACKAGES = ("onnxruntime",)
_SAMPLES = 64
_MAX_BATCH_SIZE, _MAX_INPUT_LEN = 32, 512
_WORKSPACE_RATIO = 0.5  # of the GPU's free memory, what TensorRT may try tactics in
_DTYPES = ("fp16", "int8")
_FIRST_SM = 75


@dataclass(frozen=True)
class PlanLimits:
    """The upper limits of the only optimisation profile, which begins at one sequence of one token. TensorRT tunes for half of both
    limits.
    """

    max_batch_size: int
    max_input_len: int

    @classmethod
    def foreseen(cls, build: BuildOptions, facts: ModelFacts) -> PlanLimits:
        return cls(build.max_batch_size or _MAX_BATCH_SIZE, build.max_input_len or min(_MAX_INPUT_LEN, facts.max_positions))

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(Sequences, tokens): the smallest shape, the tuned one, the largest."""
        return (1, 1), (-(-self.max_batch_size // 2), -(-self.max_input_len // 2)), (self.max_batch_size, self.max_input_len)


class TensorRtProvider:
    name = "tensorrt"
    kv_block_tokens = 32  # of no meaning: encoders keep no keys and values
    tasks = (EMBED.name,)
    traits = Traits(uses_gpus=True)
    fixed_axes: Mapping[str, str] = {"inference_threads": ON_GPU}

    def unavailable(self) -> str | None:
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            return "no NVIDIA driver on this machine (libcuda.so.1 is not found); run on a GPU node"
        found = tensorrt_version()
        if find_spec("tensorrt") is None or not found:
            return "the package tensorrt is not installed; install the version that this Triton's TensorRT backend has"
        if int(found.split(".")[0]) not in MAJORS:
            return f"TensorRT {found} is none of {', '.join(map(str, MAJORS))}, whose API trtbench knows; use a container with one of them"
        return no_gpu()

    def refusal(self, spec: EngineSpec) -> str | None:
        if model_facts(spec.model).task not in self.tasks:
            return "it builds encoders alone; a decoder is for provider tensorrt_llm, llmapi or openvino"
        if spec.dtype not in _DTYPES:
            return f"plans of encoders are {' or '.join(_DTYPES)}, not {spec.dtype}"
        if extra := next((key for key in spec.build.asked if key not in _TAKES), None):
            return f"build.{extra} is of TensorRT-LLM's engines, a plan of an encoder has no such thing; leave it out"
        return (
            _too_long(spec)
            or unlike("a plan", _gpus())
            or _too_old(_gpus())
            or _cannot_pool(spec)
            or other_version(tensorrt_version() or "-")
        )

    def shortage(self, spec: EngineSpec) -> str | None:
        missing = [package for package in _needed(spec) if find_spec(package) is None]
        return f"not installed: {', '.join(missing)}; run `pip install {' '.join(missing)}`" if missing else None

    def forecast(self, spec: EngineSpec) -> EngineForecast:
        return EngineForecast()

    def versions(self) -> dict[str, str]:
        """The versions to which a plan is bound: TensorRT's exact version, and the model of the GPU."""
        first = _gpus()[0] if _gpus() else None
        gpu = {"gpu": first.name, "gpu_architecture": f"sm{first.sm}"} if first else {}
        exported = {package: package_version(package) or "-" for package in (*_PACKAGES, *_INT8_PACKAGES)}
        return {"tensorrt": tensorrt_version() or "-", **gpu, **exported}

    def content(self, spec: EngineSpec) -> dict[str, Any]:
        found: dict[str, Any] = {"shapes": PlanLimits.foreseen(spec.build, model_facts(spec.model)).shapes}
        if spec.dtype == "int8":
            found["calibration"] = texts_sha256(_texts(spec.build))
        return found

    def build(self, job: BuildJob, log: BuildLog) -> BuiltFacts:
        limits, onnx = PlanLimits.foreseen(job.spec.build, job.facts), job.output / "model.onnx"
        options: dict[str, Any] = {"max_batch_size": limits.max_batch_size, "max_input_len": limits.max_input_len}
        with log.step("export to ONNX, FP16"):
            plan = {"checkpoint": str(job.checkpoint), "first_position": first_position(job.checkpoint), "onnx": str(onnx)}
            _run("encoder_onnx", plan, job.output)
        if job.spec.dtype == "int8":
            texts, source = _texts(job.spec.build), onnx.with_name("fp16.onnx")
            onnx.rename(source)
            with log.step(f"quantise to INT8 (Q/DQ, {len(texts)} texts)"):
                words = {"tokenizer": str(job.checkpoint / "tokenizer.json"), "texts": texts, "max_input_len": limits.max_input_len}
                options |= _run("encoder_int8", {"source": str(source), "onnx": str(onnx), **words}, job.output)
            source.unlink()
        with log.step(f"build by TensorRT {tensorrt_version()}"):
            options |= _run("build", _build_plan(limits, onnx, job.output), job.output)
        onnx.unlink()
        copy_tokenizer(job.checkpoint, job.output)
        _check_tensors(options["tensors"], job.facts)
        return BuiltFacts(job.spec.dtype, 0, options=options, size_bytes=(job.output / PLAN).stat().st_size)


def _run(module: str, plan: dict[str, Any], output: Path) -> dict[str, Any]:
    """Run a build step in a process of its own, with its plan in a file and its output in build.log; returns the facts that it writes."""
    with scratch_beside(output) as scratch:
        plan_file, facts = scratch / "plan.json", scratch / "facts.json"
        write_json(plan_file, plan | {"facts": str(facts)})
        run_logged([sys.executable, "-m", f"{__package__}.{module}", str(plan_file)], output / BUILD_LOG, scratch)
        found: dict[str, Any] = read_json(facts) if facts.is_file() else {}
        return found


def _build_plan(limits: PlanLimits, onnx: Path, output: Path) -> dict[str, Any]:
    gpu = _gpus()[0]
    place = re.sub(r"[^A-Za-z0-9]+", "-", f"{tensorrt_version()}-{gpu.name}-sm{gpu.sm}")
    return {
        "onnx": str(onnx),
        "output": str(output / PLAN),
        "layers": str(output / "layers.json"),
        "inputs": ["input_ids", "attention_mask"],
        "shapes": limits.shapes,
        "workspace_bytes": int(gpu.free_bytes * _WORKSPACE_RATIO),
        "timing_cache": str(cache_directory() / "tensorrt-timing" / f"{place}.cache"),
    }


def _check_tensors(tensors: dict[str, Any], facts: ModelFacts) -> None:
    """EngineError if the tensors of the plan differ from those that the repository will declare."""
    expected = {name: ("input", "INT32", [-1, -1]) for name in ("input_ids", "attention_mask")}
    expected["embedding"] = ("output", "FLOAT", [-1, facts.embedding_values])
    found = {name: (tensor["mode"], tensor["datatype"], tensor["dims"]) for name, tensor in tensors.items()}
    if found != expected:
        raise EngineError(
            f"the plan has tensors {json.dumps(found)}, expected were {json.dumps(expected)}: TensorRT changed the graph's ends"
        )


def _texts(build: BuildOptions) -> list[str]:
    """The calibration texts. Those of trtbench's own corpus are evenly spaced, so that both languages are included."""
    texts = read_texts(build)
    return texts if build.calibration_samples or len(texts) <= _SAMPLES else texts[:: -(-len(texts) // _SAMPLES)]


def _needed(spec: EngineSpec) -> tuple[str, ...]:
    return (*_PACKAGES, *_INT8_PACKAGES) if spec.dtype == "int8" else _PACKAGES


def _too_long(spec: EngineSpec) -> str | None:
    asked, positions = spec.build.max_input_len, model_facts(spec.model).max_positions
    return f"build.max_input_len = {asked} is over the model's {positions} positions: lower it" if asked and asked > positions else None


def _too_old(gpus: tuple[CudaGpu, ...]) -> str | None:
    """The reason why a GPU is too old: TensorRT 10.5 removed Volta, according to its release notes."""
    found = next((gpu for gpu in gpus if gpu.sm < _FIRST_SM), None)
    if found is None:
        return None
    return f"TensorRT from 10.5 on takes GPUs of SM {_FIRST_SM} (Turing) and newer, {found.name} is SM {found.sm}; use one of those"


def _cannot_pool(spec: EngineSpec) -> str | None:
    try:
        sentence_modules(Path(spec.model))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"how the checkpoint pools is not known: {error}"
    return None


@cache
def _gpus() -> tuple[CudaGpu, ...]:
    return visible_gpus()
