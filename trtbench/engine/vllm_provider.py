"""vLLM serves a checkpoint unchanged, so there is nothing to build, only to check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbench.engine.spec import BuildJob, BuildLog, BuiltFacts, EngineForecast, EngineSpec
from trtbench.engine.tensorrt_llm.adopt import copy_tokenizer
from trtbench.engine.vllm_installation import VllmMissing, find_vllm
from trtbench.rundir.traits import Traits
from trtbench.tasks.generate import GENERATE

CHECKPOINT = "checkpoint"
"""The key of an engine's options that has the directory of the weights."""

_DTYPES = ("fp16", "bf16")
_NO_BATCHER = "vLLM has no batcher in front of its engine, requests are batched in flight alone"


class VllmProvider:
    name = "vllm"
    kv_block_tokens = 32  # OpenVINO's size, which vLLM takes too
    tasks = (GENERATE.name,)
    fixed_axes: Mapping[str, str] = {
        "instances": "a vLLM server has one engine; scale with replicas.servers",
        **dict.fromkeys(("max_batch_size", "preferred_batch_sizes", "max_queue_delay_us"), _NO_BATCHER),
    }
    traits = Traits(gauges_valid_at_rest=True, kv_gauge_omits_cached=True, takes_cpu_threads=True)

    def unavailable(self) -> str | None:
        try:
            find_vllm()
        except VllmMissing as error:
            return str(error)
        return None

    def refusal(self, spec: EngineSpec) -> str | None:
        if spec.dtype not in _DTYPES:
            return f"vLLM is given checkpoints without quantisation here, {' or '.join(_DTYPES)}, not {spec.dtype}; leave it out of engines"
        if asked := spec.build.asked:
            return f"build.{next(iter(asked))} is an option of TensorRT-LLM's engines, vLLM builds no engine; leave it out"
        return None

    def shortage(self, spec: EngineSpec) -> str | None:
        return None

    def forecast(self, spec: EngineSpec) -> EngineForecast:
        return EngineForecast()

    def versions(self) -> dict[str, str]:
        return {"vllm": find_vllm().version}

    def content(self, spec: EngineSpec) -> dict[str, Any]:
        return {}

    def build(self, job: BuildJob, log: BuildLog) -> BuiltFacts:
        """Write engine.json and the tokenizer. The weights stay where they are. There is no step to log."""
        copy_tokenizer(job.checkpoint, job.output)
        size = sum(file.stat().st_size for pattern in ("*.safetensors", "*.bin") for file in job.checkpoint.glob(pattern))
        return BuiltFacts(job.spec.dtype, self.kv_block_tokens, options={CHECKPOINT: str(job.checkpoint)}, size_bytes=size)
