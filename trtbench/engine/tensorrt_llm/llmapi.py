"""The TensorRT-LLM LLM API (PyTorch backend) serves a checkpoint unchanged, so there is nothing to build, only to check."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trtbench.engine.checkpoint_files import parameter_count
from trtbench.engine.spec import BuildJob, BuildLog, BuiltFacts, EngineForecast, EngineSpec
from trtbench.engine.tensorrt_llm.adopt import ON_GPU, ONE_INSTANCE, copy_tokenizer
from trtbench.engine.tensorrt_llm.build_plan import forecast
from trtbench.engine.tensorrt_llm.provider import architecture, nvidia_stack_missing
from trtbench.engine.tensorrt_llm.quantisation import HfQuantisation, read_quantisation
from trtbench.engine.tensorrt_llm.refusals import no_decoder, too_old
from trtbench.engine.tensorrt_llm.versions import TensorRtLlm, installed
from trtbench.rundir.traits import Traits
from trtbench.system.cuda import no_gpu, visible_gpus
from trtbench.tasks.generate import GENERATE

_TAKES = {"kv_dtype", "tp", "pp", "max_batch_size", "max_seq_len", "max_num_tokens", "max_input_len", "kv_block_tokens", "dummy_weights"}
_NO_BATCHER = "Triton's batcher is off, requests are batched in flight alone"


class LlmApiProvider:
    name = "llmapi"
    kv_block_tokens = 32
    tasks = (GENERATE.name,)
    fixed_axes: Mapping[str, str] = {
        "instances": ONE_INSTANCE,
        "inference_threads": ON_GPU,
        **dict.fromkeys(("max_batch_size", "preferred_batch_sizes", "max_queue_delay_us"), _NO_BATCHER),
    }
    traits = Traits(runs_pytorch=True, uses_gpus=True, kv_takes_free_memory=True, build_limits_hold=True, workers_beside_server=True)

    def unavailable(self) -> str | None:
        return nvidia_stack_missing() or (installed() or TensorRtLlm("-")).serves_no_llmapi() or no_gpu()

    def refusal(self, spec: EngineSpec) -> str | None:
        if reason := no_decoder(architecture(spec.model)):
            return reason
        if extra := next((key for key in spec.build.asked if key not in _TAKES), None):
            return f"build.{extra} is of TensorRT engines, the PyTorch backend has no engine; leave it out, or use provider tensorrt_llm"
        if reason := next(too_old(visible_gpus()), None):
            return reason
        found = read_quantisation(Path(spec.model)) if Path(spec.model).is_dir() else HfQuantisation("demo", "fp16", None, "fp16")
        return _mismatch(found, spec)

    def shortage(self, spec: EngineSpec) -> str | None:
        return None

    def forecast(self, spec: EngineSpec) -> EngineForecast:
        return forecast(spec)

    def versions(self) -> dict[str, str]:
        return {"tensorrt_llm": (installed() or TensorRtLlm("-")).text}

    def content(self, spec: EngineSpec) -> dict[str, Any]:
        return {"build": spec.build.content}

    def build(self, job: BuildJob, log: BuildLog) -> BuiltFacts:
        """Write engine.json and the tokenizer. The weights stay where they are, and `options.checkpoint` names the place. There is no
        step to log.
        """
        found = read_quantisation(job.checkpoint)
        parameters = parameter_count(job.checkpoint)
        copy_tokenizer(job.checkpoint, job.output)
        options = {
            "checkpoint": str(job.checkpoint),
            "backend": "pytorch",
            "quant_algo": found.algorithm,
            "quantised_by": found.source,
            "parameters": parameters,
            "asked": job.spec.build.asked,
        }
        size = sum(file.stat().st_size for pattern in ("*.safetensors", "*.bin") for file in job.checkpoint.glob(pattern))
        kv = job.spec.build.kv_dtype if job.spec.build.kv_dtype != "auto" else found.kv_dtype
        weights = found.dtype or "-"
        block_tokens = job.spec.build.kv_block_tokens or self.kv_block_tokens
        return BuiltFacts("int8" if weights == "int8-sq" else weights, block_tokens, kv, options, size)


def _mismatch(found: HfQuantisation, spec: EngineSpec) -> str | None:
    """The reason why the checkpoint does not fit the requested dtype. The PyTorch backend quantises nothing and ignores QuantConfig, so the
    checkpoint decides.
    """
    if found.dtype != spec.dtype:
        is_ = f"{found.algorithm or 'not quantised'} ({found.dtype or 'no name here'}, says {found.source})"
        return (
            f"the checkpoint is {is_}, asked is {spec.dtype}, and the PyTorch backend serves a checkpoint as it is; ask for {found.dtype}, "
            "or quantise it with ModelOpt first"
        )
    if spec.build.kv_dtype == "int8":
        return "build.kv_dtype int8: the PyTorch backend's KV cache is 16 bit or fp8; take auto or fp8"
    return None
