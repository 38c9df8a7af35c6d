"""The CPU provider: OpenVINO engines, FP16 or INT8 weight-only, served with in-flight batching and a paged KV cache."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from trtbench.engine.checkpoint import model_facts
from trtbench.engine.child import run_module, scratch_beside
from trtbench.engine.spec import BuildJob, BuildLog, BuiltFacts, EngineForecast, EngineSpec
from trtbench.rundir.traits import Traits
from trtbench.tasks.embed import EMBED
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.infer import INFER
from trtbench.tasks.registry import TASKS

_MODULES = {"openvino": "openvino", "openvino_genai": "openvino-genai", "optimum.intel": "optimum-intel", "nncf": "nncf", "torch": "torch"}
_EXPORTS = {"fp16": "export to OpenVINO, FP16 weights", "int8": "export to OpenVINO, compress weights to INT8 (NNCF)"}
_VERSIONED = ("openvino", "openvino-genai", "optimum-intel", "nncf", "torch", "transformers")


class OpenVinoProvider:
    name = "openvino"
    kv_block_tokens = 32  # fixed by OpenVINO's CPU plugin
    tasks = (GENERATE.name, EMBED.name, INFER.name)
    fixed_axes: Mapping[str, str] = {}
    traits = Traits(gauges_valid_at_rest=True, kv_gauge_omits_cached=True, sizes_kv_for_all_sequences=True, takes_cpu_threads=True)

    def unavailable(self) -> str | None:
        if platform.machine() not in ("x86_64", "AMD64"):
            return f"OpenVINO's continuous batching needs an x86-64 processor; this is {platform.machine()}"
        missing = [package for module, package in _MODULES.items() if not _importable(module)]
        if missing:
            return f"not installed: {', '.join(missing)}; `make setup` installs the pinned CPU stack"
        return None

    def versions(self) -> dict[str, str]:
        return {package: version(package) for package in _VERSIONED}

    def refusal(self, spec: EngineSpec) -> str | None:
        if spec.dtype not in _EXPORTS:
            return f"OpenVINO engines are {' or '.join(_EXPORTS)}, not {spec.dtype}; {spec.dtype} needs provider tensorrt_llm or llmapi"
        if spec.dtype != "fp16" and model_facts(spec.model).image_shape:
            return f"image classifiers are exported in FP16 here, not {spec.dtype}: set engines: [fp16]"
        if spec.build.kv_dtype != "auto":
            return "build.kv_dtype is of TensorRT-LLM's engines; OpenVINO's KV cache is chosen by deployments.NAME.kv_cache.dtype"
        if asked := spec.build.asked:
            return f"build.{next(iter(asked))} is an option of TensorRT-LLM's engines, OpenVINO has no such thing; leave it out"
        return None

    def shortage(self, spec: EngineSpec) -> str | None:
        return None

    def forecast(self, spec: EngineSpec) -> EngineForecast:
        return EngineForecast()

    def content(self, spec: EngineSpec) -> dict[str, Any]:
        return {}

    def build(self, job: BuildJob, log: BuildLog) -> BuiltFacts:
        dtype = job.spec.dtype
        with log.step(_EXPORTS[dtype]), scratch_beside(job.output) as scratch:
            run_module("trtbench.engine.openvino.export", str(job.checkpoint), dtype, str(job.output), scratch=scratch)
        return BuiltFacts(weights_dtype=dtype, kv_block_tokens=self.kv_block_tokens if TASKS[job.facts.task].has_kv_cache else 0)


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
