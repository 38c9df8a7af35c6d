"""The TensorRT-LLM provider builds FP16, BF16, INT8 (weights, or SmoothQuant) and FP8 engines on an NVIDIA GPU."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trtbench.engine.checkpoint import DEMOS, known_parameters
from trtbench.engine.spec import BuildJob, BuildLog, BuiltFacts, EngineForecast, EngineSpec
from trtbench.engine.tensorrt_llm.adopt import AdoptedEngine, finished
from trtbench.engine.tensorrt_llm.build_plan import estimate, forecast, route
from trtbench.engine.tensorrt_llm.engine import read_engine
from trtbench.engine.tensorrt_llm.execution import BUILD_LOG, RUNTIME_ERROR_FILE, STEPS_FILE, Execution, parse_build_log
from trtbench.engine.tensorrt_llm.quantisation import calibrates, checkpoint_script, read_texts, texts_sha256
from trtbench.engine.tensorrt_llm.refusals import Machine, no_paged_context, refusals, shortages
from trtbench.engine.tensorrt_llm.versions import TensorRtLlm, installed, tensorrt_version
from trtbench.rundir.lines import read_json
from trtbench.system.cuda import no_gpu, visible_gpus
from trtbench.system.memory import memory_bounds
from trtbench.tasks.generate import GENERATE

_EXAMPLES = ("/app/examples", "/app/tensorrt_llm/examples")  # in Triton's image, in TensorRT-LLM's
_DEMO_ARCHITECTURES = {"smollm2-135m": "LlamaForCausalLM"}  # before they are fetched


class TensorRtLlmProvider:
    name = "tensorrt_llm"
    kv_block_tokens = 32
    tasks = (GENERATE.name,)
    traits = AdoptedEngine.traits
    fixed_axes = AdoptedEngine.fixed_axes

    def unavailable(self) -> str | None:
        missing = nvidia_stack_missing()
        return missing or _release().builds_no_engines() or no_gpu()

    def refusal(self, spec: EngineSpec) -> str | None:
        return "\n  ".join(dict.fromkeys(refusals(spec, architecture(spec.model), visible_gpus()))) or None

    def shortage(self, spec: EngineSpec) -> str | None:
        return "\n  ".join(shortages(spec, architecture(spec.model), known_parameters(spec.model), machine(spec))) or None

    def forecast(self, spec: EngineSpec) -> EngineForecast:
        parameters = known_parameters(spec.model)
        memory = None if parameters is None else estimate(parameters, spec.dtype, spec.build)
        return replace(forecast(spec), no_paged_context=no_paged_context(spec.dtype, spec.build), build=memory)

    def versions(self) -> dict[str, str]:
        """The versions to which an engine is bound: TensorRT timed its kernels on that model of GPU."""
        return {
            "tensorrt_llm": _release().text,
            "tensorrt": tensorrt_version() or "-",
            "gpu": ",".join(sorted({gpu.name for gpu in visible_gpus()})),
            "gpu_architecture": ",".join(sorted({f"sm{gpu.sm}" for gpu in visible_gpus()})),
        }

    def content(self, spec: EngineSpec) -> dict[str, Any]:
        found: dict[str, Any] = {"build": spec.build.content}
        if calibrates(spec.dtype, spec.build):
            found["calibration"] = texts_sha256(read_texts(spec.build))
        return found

    def build(self, job: BuildJob, log: BuildLog) -> BuiltFacts:
        execution = Execution(job, _release(), examples(), architecture(str(job.checkpoint)), log)
        execution.run()
        facts = finished(read_engine(job.output), job)
        return BuiltFacts(**(vars(facts) | {"options": facts.options | _of_build(job)}))


def nvidia_stack_missing() -> str | None:
    """The first part of NVIDIA's stack that this machine lacks, as a sentence; None if it is complete."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver on this machine (libcuda.so.1 is not found); run on a GPU node, in the NGC Triton + TensorRT-LLM container"
    if find_spec("tensorrt_llm") is None or not installed():
        return "the package tensorrt_llm is not installed; run in the NGC Triton + TensorRT-LLM container"
    return None


def architecture(model: str) -> str:
    """The first of the checkpoint's `architectures`; "-" if it names none."""
    if model in DEMOS:
        return _DEMO_ARCHITECTURES.get(model, "-")
    return next(iter(read_json(Path(model) / "config.json").get("architectures") or ()), "-")


def machine(spec: EngineSpec) -> Machine:
    script, found = checkpoint_script(spec.dtype, spec.build, architecture(spec.model)), examples()
    return Machine(
        gpus=visible_gpus(),
        host_available_bytes=min(bound.available_bytes for bound in memory_bounds()),
        scripts=frozenset([script] if found and (found / script).is_file() else ()),
        trtllm_build=shutil.which("trtllm-build") is not None,
        modelopt=find_spec("modelopt") is not None,
    )


def examples() -> Path | None:
    """TensorRT-LLM's examples directory; TRTLLM_EXAMPLES names another place."""
    named = os.environ.get("TRTLLM_EXAMPLES")
    return next((path for place in ([named] if named else _EXAMPLES) if (path := Path(place).absolute()).is_dir()), None)


def _of_build(job: BuildJob) -> dict[str, Any]:
    """Facts that only the build knows."""
    steps = job.output / STEPS_FILE
    own = {"llm_api_steps": json.loads(steps.read_text(encoding="utf-8"))} if steps.is_file() else {}
    error = job.output / RUNTIME_ERROR_FILE
    own |= {"runtime_error": error.read_text(encoding="utf-8")} if error.is_file() else {}
    text = (job.output / BUILD_LOG).read_text(encoding="utf-8", errors="replace")
    asked = {"route": route(job.spec.dtype, job.spec.build, architecture(str(job.checkpoint))), "asked": job.spec.build.asked}
    return asked | own | parse_build_log(text).as_options()


def _release() -> TensorRtLlm:
    return installed() or TensorRtLlm("-")
