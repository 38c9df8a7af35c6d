"""The reasons why a TensorRT-LLM engine cannot be built on a machine, found before anything is spent. The caller passes in what is
known of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtbench.engine.spec import EngineSpec
from trtbench.engine.tensorrt_llm.build_plan import estimate, route
from trtbench.engine.tensorrt_llm.quantisation import LLAMA_LIKE, by_modelopt, calibrates, checkpoint_script, llm_api_quantises
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.scenario.parts.choices import Dtype
from trtbench.system.cuda import CudaGpu

_GIB = 1 << 30
_NO_INT8 = range(100, 120)  # data-centre Blackwell: TensorRT-LLM's builder raises for INT8 weights, activations and KV cache
_FIRST_FP8 = 89
_FIRST_SM = 80


@dataclass(frozen=True)
class Machine:
    """The machine as a build finds it. `scripts`: the scripts of TensorRT-LLM's examples that exist."""

    gpus: Sequence[CudaGpu]
    host_available_bytes: int
    scripts: frozenset[Path]
    trtllm_build: bool
    modelopt: bool


def refusals(spec: EngineSpec, architecture: str, gpus: Sequence[CudaGpu]) -> Iterator[str]:
    """The reasons that no build on these GPUs can overcome."""
    if reason := no_decoder(architecture):
        yield reason
    yield from _of_gpus(spec.dtype, spec.build, gpus)
    yield from _of_options(spec.dtype, spec.build, architecture)


def shortages(spec: EngineSpec, architecture: str, parameters: int | None, machine: Machine) -> Iterator[str]:
    """What the machine lacks now. `parameters` None: unknown, in which case memory is not judged."""
    yield from _of_tools(spec, architecture, machine)
    if parameters is not None:
        yield from _of_memory(parameters, spec, machine)


def no_decoder(architecture: str) -> str | None:
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return None
    return f"the checkpoint's config.json names architecture {architecture}, engines are of decoder-only language models; use openvino"


def too_old(gpus: Sequence[CudaGpu]) -> Iterator[str]:
    """GPUs that TensorRT-LLM dropped in 0.14, with Volta and Turing. Its builder ends in SIGABRT on them, so this is checked before."""
    for gpu in gpus:
        if gpu.sm < _FIRST_SM:
            yield (
                f"{gpu.name} is SM {gpu.sm}, TensorRT-LLM begins with SM {_FIRST_SM} (Ampere); use a newer GPU, "
                "choose one with CUDA_VISIBLE_DEVICES, or serve an encoder by provider tensorrt"
            )


def unlike(what: str, gpus: Sequence[CudaGpu]) -> str | None:
    """A warning about GPUs of another model. TensorRT times its kernels on one GPU; on another of the same architecture it only warns,
    and the figures do not represent an engine built for it.
    """
    names = sorted({gpu.name for gpu in gpus})
    return f"{what} is for one model of GPU, visible are {', '.join(names)}; choose with CUDA_VISIBLE_DEVICES" if len(names) > 1 else None


def no_paged_context(dtype: Dtype, options: BuildOptions) -> str | None:
    """The reason why an engine will neither reuse KV blocks nor chunk its prefill; None if it can do both."""
    if options.kv_dtype == "int8":
        return "build.kv_dtype int8"
    if options.kv_dtype == "fp8" and dtype != "fp8":
        return f"build.kv_dtype fp8 with {dtype} weights"
    if options.plugins.get("context_fmha") == "disable":
        return "build.plugins.context_fmha disable"
    return "build.paged_context_fmha false" if options.paged_context_fmha is False else None


def _of_gpus(dtype: Dtype, options: BuildOptions, gpus: Sequence[CudaGpu]) -> Iterator[str]:
    int8 = dtype if dtype.startswith("int8") else "build.kv_dtype int8" if options.kv_dtype == "int8" else None
    fp8 = dtype if dtype == "fp8" else "build.kv_dtype fp8" if options.kv_dtype == "fp8" else None
    yield from too_old(gpus)
    yield from filter(None, [unlike("an engine", gpus)])
    for gpu in gpus:
        where = f"{gpu.name} (SM {gpu.sm})"
        if int8 and gpu.sm in _NO_INT8:
            yield f"{int8}: TensorRT-LLM refuses INT8 on {where}; take fp8, or a GPU of SM 80 to 90"
        if fp8 and _FIRST_SM <= gpu.sm < _FIRST_FP8:
            yield f"{fp8}: {where} has no FP8, which begins with SM {_FIRST_FP8} (Ada, Hopper); take int8"
    if options.route == "llm_api" and options.ranks > len(gpus):
        yield f"build.route llm_api starts all {options.ranks} ranks, {len(gpus)} GPUs are visible; take route trtllm_build, or fewer ranks"


def _of_options(dtype: Dtype, options: BuildOptions, architecture: str) -> Iterator[str]:
    if options.paged_context_fmha and (why := no_paged_context(dtype, options)):
        yield f"build.paged_context_fmha: TensorRT-LLM turns it off under {why}; leave it out, or take kv_dtype auto"
    for name in ("gemm_swiglu_plugin", "low_latency_gemm_swiglu_plugin"):
        if options.plugins.get(name) == "fp8" and dtype != "fp8":
            yield f"build.plugins.{name} fp8 is of FP8 weights, these are {dtype}; drop it, or take fp8"
    if options.dummy_weights and calibrates(dtype, options):
        yield f"build.dummy_weights: {dtype} is calibrated on what the model answers, random weights answer nothing; take int8 or fp16"
    if options.smoothquant == "plugin" and dtype == "int8-sq" and architecture not in LLAMA_LIKE:
        yield f"build.smoothquant plugin is of {', '.join(sorted(LLAMA_LIKE))}, the model is {architecture}; take modelopt"
    elif options.smoothquant == "plugin" and dtype == "int8-sq" and options.kv_dtype == "fp8":
        yield "build.smoothquant plugin goes with a KV cache of 16 bit or int8, kv_dtype is fp8; take modelopt, or another kv_dtype"
    elif options.route == "llm_api" and not llm_api_quantises(dtype, options, architecture):
        yield f"build.route llm_api: {dtype} with a {options.kv_dtype} KV cache of {architecture} is beyond the LLM API; take trtllm_build"


def _of_tools(spec: EngineSpec, architecture: str, machine: Machine) -> Iterator[str]:
    options = spec.build
    by_programs = route(spec.dtype, options, architecture) == "trtllm_build"
    if by_programs and not machine.trtllm_build:
        yield "trtllm-build is not on PATH; run in the NGC Triton + TensorRT-LLM container, or take build.route llm_api"
    script = checkpoint_script(spec.dtype, options, architecture)
    if by_programs and script not in machine.scripts:
        yield f"TensorRT-LLM's examples/{script} is not found; name its examples directory in TRTLLM_EXAMPLES, or take build.route llm_api"
    if by_programs and options.dummy_weights and architecture not in LLAMA_LIKE:
        yield f"build.dummy_weights by trtllm-build is of {', '.join(sorted(LLAMA_LIKE))}, the model is {architecture}; take route llm_api"
    modelopt = calibrates(spec.dtype, options) or by_programs
    if modelopt and by_modelopt(spec.dtype, options, architecture) and not machine.modelopt:
        yield f"{spec.dtype} of {architecture} is quantised by ModelOpt, which is not installed; `pip install nvidia-modelopt`"


def _of_memory(parameters: int, spec: EngineSpec, machine: Machine) -> Iterator[str]:
    need = estimate(parameters, spec.dtype, spec.build)
    size = f"{parameters / 1e9:.2f} billion parameters in {spec.dtype}"
    if need.host_bytes > machine.host_available_bytes:
        yield (
            f"the build of {size} takes about {need.host_bytes / _GIB:.1f} GiB of host memory, "
            f"{machine.host_available_bytes / _GIB:.1f} GiB are available; end other programs, or build on a larger machine"
        )
    if machine.gpus and need.gpu_bytes > (free := max(gpu.free_bytes for gpu in machine.gpus)):
        yield (
            f"the build of {size} takes about {need.gpu_bytes / _GIB:.1f} GiB of GPU memory a rank, {free / _GIB:.1f} GiB are free on the "
            "emptiest GPU; free some, raise build.tp, or take a smaller dtype"
        )
    if machine.gpus and need.calibration_bytes > (free := sum(gpu.free_bytes for gpu in machine.gpus)):
        yield (
            f"the calibration of {size} takes about {need.calibration_bytes / _GIB:.1f} GiB of GPU memory, {free / _GIB:.1f} GiB are free "
            "on all visible GPUs together; free some, make more of them visible, or take a dtype that is not calibrated"
        )
