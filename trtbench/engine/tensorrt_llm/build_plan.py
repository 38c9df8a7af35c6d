"""The steps of a TensorRT-LLM build, as data, and the most host and GPU memory that it needs. Reading them needs no GPU.

A build is the LLM API's keywords, or the command lines of trtllm-build's two steps.

The constants of memory come from eight published build logs of TensorRT-LLM 0.7 to 1.0 (0.1 to 35 billion parameters, FP16, BF16, W8A16
and W4A16), listed in tests/engine/tensorrt_llm/test_build_plan.py. They bound each of those builds, none of which trtbench made. None of
them calibrated: that constant is assumed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trtbench.engine.checkpoint import known_parameters
from trtbench.engine.spec import BuildMemory, EngineForecast, EngineSpec
from trtbench.engine.tensorrt_llm.quantisation import QUANTISATIONS, algorithm, calibrates, llm_api_quantises
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.scenario.parts.choices import Dtype

_GIB = 1 << 30
_WEIGHT_BYTES: dict[Dtype, int] = {"fp16": 2, "bf16": 2, "int8": 1, "int8-sq": 1, "fp8": 1}
_HOST_WEIGHTS, _HOST_BASE_BYTES = 2.6, 8 * _GIB  # the network holds the weights, the serialised engine again
_GPU_WEIGHTS, _GPU_BASE_BYTES = 1.1, 2 * _GIB  # the kernels are timed on the weights
_CALIBRATION_WEIGHT_BYTES = 2  # the model runs in 16 bit, whole: both calibrators load it with device_map auto, over all GPUs
_OVERHEAD = 1.2  # of activations and observers; assumed


def engine_bytes(parameters: int, dtype: Dtype) -> int:
    """The bytes of the weights of all ranks together."""
    return parameters * _WEIGHT_BYTES[dtype]


def estimate(parameters: int, dtype: Dtype, options: BuildOptions) -> BuildMemory:
    """The memory of a build: host = 2.6 x weights + 8 GiB; gpu = 1.1 x weights of a rank + 2 GiB; calibration = 1.2 x 2 bytes x
    parameters.
    """
    weights = engine_bytes(parameters, dtype)
    calibration = _OVERHEAD * _CALIBRATION_WEIGHT_BYTES * parameters if calibrates(dtype, options) else 0
    return BuildMemory(
        weights_bytes=weights,
        host_bytes=round(_HOST_WEIGHTS * weights + _HOST_BASE_BYTES),
        gpu_bytes=round(_GPU_WEIGHTS * weights / options.ranks + _GPU_BASE_BYTES),
        calibration_bytes=round(calibration),
    )


def forecast(spec: EngineSpec) -> EngineForecast:
    """The engine of `spec`, built or served by TensorRT-LLM."""
    options, parameters = spec.build, known_parameters(spec.model)
    return EngineForecast(
        tp=options.tp,
        pp=options.pp,
        ranks=options.ranks,
        rank_bytes=None if parameters is None else engine_bytes(parameters, spec.dtype) // options.ranks,
        kv_dtype=None if options.kv_dtype == "auto" else options.kv_dtype,
    )


LIMITS = ("max_batch_size", "max_input_len", "max_seq_len", "max_num_tokens")


@dataclass(frozen=True)
class LlmApiBuild:
    """Keywords of the LLM API's classes, as JSON values; `engine/tensorrt_llm/build.py` makes the objects in a process of its own.

    Plugins keep the words of the command line, where enable and disable become true, and false or null. `workspace`: an empty directory
    in which the LLM API builds.
    """

    llm: dict[str, Any]
    build_config: dict[str, Any]
    plugin_config: dict[str, Any]
    quant_config: dict[str, Any] = field(default_factory=dict)
    calib_config: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    workspace: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def route(dtype: Dtype, options: BuildOptions, architecture: str) -> str:
    """`llm_api`, or `trtllm_build` for more than one rank (a process for each, without an MPI session) and for what the LLM API cannot
    build.
    """
    if options.route != "auto":
        return options.route
    return "llm_api" if options.ranks == 1 and llm_api_quantises(dtype, options, architecture) else "trtllm_build"


def llm_api_variables(options: BuildOptions) -> dict[str, str]:
    """Environment of the LLM API's process.

    TensorRT-LLM's Python logger is at level error by default; it prints steps, seconds and memory at level INFO.
    With one rank, the runtime stays in the process, because an MPI worker cannot be spawned in some containers.
    """
    return {"TLLM_LOG_LEVEL": "INFO"} | ({"TLLM_WORKER_USE_SINGLE_PROCESS": "1"} if options.ranks == 1 else {})


def plugins(spec: EngineSpec) -> dict[str, str]:
    """Plugin flags by their names on the command line."""
    options, found = spec.build, {}
    if spec.dtype != "fp8":
        found["gemm_plugin"] = "auto"  # TensorRT-LLM's advice for all but FP8
    if options.kv_block_tokens:
        found["tokens_per_block"] = str(options.kv_block_tokens)
    if options.paged_context_fmha is not None:
        found["use_paged_context_fmha"] = "enable" if options.paged_context_fmha else "disable"
    return found | options.plugins


def llm_api_build(spec: EngineSpec, checkpoint: Path, output: Path, calibration: tuple[Path, int] | None) -> LlmApiBuild:
    """The build by the LLM API. `calibration`: its directory and the number of its texts, if the build calibrates."""
    options = spec.build
    quantised = {"quant_algo": algorithm(spec.dtype, options)}
    if options.kv_dtype != "auto":
        quantised["kv_cache_quant_algo"] = options.kv_dtype.upper()
    return LlmApiBuild(
        llm={
            "model": str(checkpoint),
            "dtype": QUANTISATIONS[spec.dtype].compute,
            "tensor_parallel_size": options.tp,
            "pipeline_parallel_size": options.pp,
            "load_format": "dummy" if options.dummy_weights else "auto",
            **_limits(options),  # again: 1.2's own defaults would else be over them, which one text clamps, another refuses
        },
        build_config=_limits(options),
        plugin_config=plugins(spec),
        quant_config=quantised if any(quantised.values()) else {},
        calib_config={"calib_dataset": str(calibration[0]), "calib_batches": calibration[1]} if calibration else {},
        output=str(output),
    )


def trtllm_build_command(spec: EngineSpec, program: str, checkpoint: Path, output: Path) -> list[str]:
    """The argv of trtllm-build for the TensorRT-LLM checkpoint in `checkpoint`."""
    options = spec.build
    source = ["--model_config", str(checkpoint / "config.json")] if options.dummy_weights else ["--checkpoint_dir", str(checkpoint)]
    limits = {name: str(value) for name, value in _limits(options).items()}
    flags = limits | {"workers": str(options.workers or options.ranks)} | plugins(spec)
    return [program, *source, "--output_dir", str(output), *(word for name, value in flags.items() for word in (f"--{name}", value))]


def _limits(options: BuildOptions) -> dict[str, int]:
    return {name: value for name in LIMITS if (value := getattr(options, name)) is not None}
