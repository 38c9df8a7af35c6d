from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trtbench.engine.spec import EngineSpec
from trtbench.engine.tensorrt_llm.build_plan import route
from trtbench.engine.tensorrt_llm.quantisation import checkpoint_script
from trtbench.engine.tensorrt_llm.refusals import Machine, no_paged_context, refusals, shortages
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.system.cuda import CudaGpu

GIB = 1 << 30
H100 = CudaGpu("NVIDIA H100", 90, 80 * GIB, 75 * GIB)
WHOLE = Machine(
    (H100, H100), 512 * GIB, frozenset({Path("models/core/llama/convert_checkpoint.py"), Path("quantization/quantize.py")}), True, True
)


def reasons(
    machine: Machine = WHOLE, architecture: str = "LlamaForCausalLM", parameters: int | None = 8_000_000_000, **keys: Any
) -> list[str]:
    spec = EngineSpec.model_validate({"model": "m"} | keys)
    return [*refusals(spec, architecture, machine.gpus), *shortages(spec, architecture, parameters, machine)]


def on(sm: int) -> Machine:
    return replace(WHOLE, gpus=(replace(H100, name="GPU", sm=sm),))


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "int8", "int8-sq", "fp8"])
@pytest.mark.parametrize("build", [{}, {"tp": 2}, {"kv_dtype": "int8"}, {"kv_dtype": "fp8"}, {"route": "trtllm_build"}])
def test_nothing_is_refused_where_all_is_there(dtype: str, build: dict[str, Any]) -> None:
    assert reasons(dtype=dtype, build=build) == []


@pytest.mark.parametrize(
    ("sm", "keys", "says"),
    [
        (100, {"dtype": "int8"}, "int8: TensorRT-LLM refuses INT8 on GPU (SM 100)"),
        (103, {"dtype": "int8-sq"}, "int8-sq: TensorRT-LLM refuses INT8"),
        (119, {"dtype": "fp16", "build": {"kv_dtype": "int8"}}, "build.kv_dtype int8: TensorRT-LLM refuses INT8"),
        (80, {"dtype": "fp8"}, "fp8: GPU (SM 80) has no FP8"),
        (86, {"dtype": "int8", "build": {"kv_dtype": "fp8"}}, "build.kv_dtype fp8: GPU (SM 86) has no FP8"),
        (75, {}, "GPU is SM 75, TensorRT-LLM begins with SM 80 (Ampere)"),
        (75, {"dtype": "bf16"}, "GPU is SM 75, TensorRT-LLM begins with SM 80"),
        (70, {"dtype": "fp8"}, "GPU is SM 70, TensorRT-LLM begins with SM 80"),
        (90, {"build": {"kv_dtype": "fp8", "paged_context_fmha": True}}, "turns it off under build.kv_dtype fp8 with fp16 weights"),
        (90, {"build": {"plugins": {"low_latency_gemm_swiglu_plugin": "fp8"}}}, "is of FP8 weights, these are fp16"),
        (90, {"dtype": "int8-sq", "build": {"dummy_weights": True}}, "random weights answer nothing"),
        (90, {"build": {"route": "llm_api", "tp": 4}}, "starts all 4 ranks, 1 GPUs are visible"),
    ],
)
def test_each_reason_is_given_alone(sm: int, keys: dict[str, Any], says: str) -> None:
    (one,) = reasons(on(sm), **keys)
    assert says in one
    assert ";" in one  # cause, then remedy


@pytest.mark.parametrize(("sm", "dtype"), [(90, "int8"), (89, "fp8"), (120, "int8"), (100, "fp8"), (80, "bf16"), (80, "fp16")])
def test_what_is_just_outside_the_bounds_is_not_refused(sm: int, dtype: str) -> None:
    assert reasons(on(sm), dtype=dtype) == []


def test_what_is_no_decoder() -> None:
    for architecture in ("BertModel", "T5ForConditionalGeneration", "-"):
        assert f"names architecture {architecture}," in reasons(architecture=architecture)[0]
    assert reasons(architecture="GPT2LMHeadModel") == []


def test_other_architectures() -> None:
    assert reasons(architecture="Qwen2ForCausalLM", dtype="int8-sq") == []
    (one,) = reasons(architecture="Qwen2ForCausalLM", dtype="int8-sq", build={"smoothquant": "plugin"})
    assert "the model is Qwen2ForCausalLM; take modelopt" in one
    (one,) = reasons(architecture="Qwen2ForCausalLM", build={"dummy_weights": True, "tp": 2})
    assert "take route llm_api" in one


LLAMA, QWEN = "LlamaForCausalLM", "Qwen2ForCausalLM"


@pytest.mark.parametrize(
    ("dtype", "build", "architecture", "taken"),
    [
        ("fp16", {}, QWEN, "llm_api"),
        ("int8", {}, QWEN, "llm_api"),
        ("int8", {"tp": 2}, QWEN, "trtllm_build"),
        ("int8-sq", {"kv_dtype": "int8"}, QWEN, "llm_api"),
        ("fp8", {"kv_dtype": "fp8"}, QWEN, "llm_api"),
        ("bf16", {"kv_dtype": "fp8"}, QWEN, "llm_api"),
        ("int8", {"kv_dtype": "fp8"}, LLAMA, "trtllm_build"),
        ("int8", {"kv_dtype": "int8"}, LLAMA, "llm_api"),
        ("int8", {"kv_dtype": "int8"}, QWEN, "trtllm_build"),
        ("fp16", {"kv_dtype": "int8"}, QWEN, "trtllm_build"),
        ("int8-sq", {"smoothquant": "plugin", "kv_dtype": "int8"}, LLAMA, "llm_api"),
    ],
)
def test_the_llm_api_only_where_it_can(dtype: Any, build: dict[str, Any], architecture: str, taken: str) -> None:
    assert route(dtype, BuildOptions.model_validate(build), architecture) == taken
    forced = reasons(architecture=architecture, dtype=dtype, build=build | {"route": "llm_api", "tp": 1})
    assert len(forced) == (taken == "trtllm_build" and "tp" not in build)
    assert all("is beyond the LLM API; take trtllm_build" in one for one in forced)


def test_plugin_smoothquant_and_an_fp8_kv_cache() -> None:
    (one,) = reasons(dtype="int8-sq", build={"smoothquant": "plugin", "kv_dtype": "fp8"})
    assert "goes with a KV cache of 16 bit or int8" in one


def test_missing_tools() -> None:
    none = replace(WHOLE, scripts=frozenset(), trtllm_build=False)
    assert reasons(none) == []  # the LLM API needs neither
    program, script = reasons(none, build={"tp": 2})
    assert "trtllm-build is not on PATH" in program
    assert "examples/models/core/llama/convert_checkpoint.py is not found; name its examples directory in TRTLLM_EXAMPLES" in script
    (modelopt,) = reasons(replace(WHOLE, modelopt=False), dtype="int8-sq")
    assert "`pip install nvidia-modelopt`" in modelopt
    assert reasons(replace(WHOLE, modelopt=False), dtype="int8") == []


def test_memory_with_the_estimate_shown() -> None:
    (host,) = reasons(replace(WHOLE, host_available_bytes=46 * GIB))
    assert "8.00 billion parameters in fp16 takes about 46.7 GiB of host memory, 46.0 GiB are available" in host
    small = replace(H100, free_bytes=16 * GIB)
    (gpu,) = reasons(replace(WHOLE, gpus=(small, small)))
    assert "takes about 18.4 GiB of GPU memory a rank, 16.0 GiB are free on the emptiest GPU" in gpu
    assert reasons(replace(WHOLE, gpus=(small, H100))) == []
    assert reasons(replace(WHOLE, host_available_bytes=0), parameters=None) == []


def test_calibration_may_use_all_gpus_together() -> None:
    """70 billion parameters in 16 bit are on none of eight GPUs, but on all of them."""
    large = replace(WHOLE, host_available_bytes=2000 * GIB)
    asked: dict[str, Any] = {"parameters": 70_000_000_000, "dtype": "int8-sq", "build": {"tp": 8}}
    assert reasons(replace(large, gpus=(H100,) * 8), **asked) == []
    (short,) = reasons(replace(large, gpus=(replace(H100, free_bytes=70 * GIB),) * 2), **asked)
    assert "calibration of 70.00 billion parameters in int8-sq takes about 156.5 GiB of GPU memory, 140.0 GiB are free" in short


def test_what_turns_kv_reuse_and_chunked_prefill_off() -> None:
    assert no_paged_context("fp16", BuildOptions()) is None
    assert no_paged_context("fp8", BuildOptions(kv_dtype="fp8")) is None
    assert no_paged_context("int8", BuildOptions(kv_dtype="int8")) == "build.kv_dtype int8"
    assert no_paged_context("int8", BuildOptions(kv_dtype="fp8")) == "build.kv_dtype fp8 with int8 weights"
    assert no_paged_context("fp16", BuildOptions(paged_context_fmha=False)) == "build.paged_context_fmha false"
    assert no_paged_context("fp16", BuildOptions(plugins={"context_fmha": "disable"})) == "build.plugins.context_fmha disable"
    assert no_paged_context("fp16", BuildOptions(plugins={"context_fmha": "enable"})) is None


def test_the_script_of_each_quantisation() -> None:
    assert checkpoint_script("int8", BuildOptions(), "LlamaForCausalLM").name == "convert_checkpoint.py"
    assert checkpoint_script("int8-sq", BuildOptions(smoothquant="plugin"), "LlamaForCausalLM").name == "convert_checkpoint.py"
    for dtype, architecture in (("int8-sq", "LlamaForCausalLM"), ("fp8", "LlamaForCausalLM"), ("int8", "Qwen2ForCausalLM")):
        assert checkpoint_script(dtype, BuildOptions(), architecture).name == "quantize.py"  # type: ignore[arg-type]
