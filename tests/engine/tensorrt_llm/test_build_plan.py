from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.engine.spec import BuildMemory
from trtbench.engine.tensorrt_llm.build_plan import engine_bytes, estimate
from trtbench.scenario.deployment.build_options import BuildOptions

GIB = 1 << 30
MIB = 1 << 20

PUBLISHED = [
    # parameters, dtype whose weights are nearest, host peak, GPU peak: as published logs of TensorRT-LLM builds print them
    ("gpt2, FP16", 0.124e9, "fp16", 6600 * MIB, 775 * MIB),
    ("qwen3-0.6b, W8A16", 0.6e9, "int8", 4628 * MIB, None),
    ("qwen3-0.6b, BF16", 0.6e9, "bf16", 5799 * MIB, None),
    ("falcon-rw-1b, FP16", 1.3e9, "fp16", 10624 * MIB, 2699 * MIB),
    ("llama-3.2-1b, W8A16", 1.24e9, "int8", 10421.96 * MIB, None),
    ("qwen2.5-1.5b, BF16", 1.54e9, "bf16", 10053 * MIB, None),
    ("chatglm3-6b, FP16", 6.2e9, "fp16", 29706 * MIB, 11909 * MIB),
    ("command-r 35b, FP16", 35e9, "fp16", 176257.29 * MIB, None),
]


@pytest.mark.parametrize(("what", "parameters", "dtype", "host", "gpu"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_the_estimate_bounds_published_builds_and_is_not_absurd(
    what: str, parameters: float, dtype: str, host: float, gpu: float | None
) -> None:
    need = estimate(round(parameters), dtype, BuildOptions())  # type: ignore[arg-type]
    assert host <= need.host_bytes <= 2.5 * host
    if gpu:
        assert gpu <= need.gpu_bytes


def test_the_formula() -> None:
    need = estimate(8 * GIB, "fp16", BuildOptions())
    assert engine_bytes(8 * GIB, "fp16") == 16 * GIB
    assert need == BuildMemory(16 * GIB, round(2.6 * 16 * GIB) + 8 * GIB, round(1.1 * 16 * GIB) + 2 * GIB, calibration_bytes=0)
    assert estimate(8 * GIB, "fp16", BuildOptions(tp=2, pp=2)).gpu_bytes == round(1.1 * 4 * GIB) + 2 * GIB
    assert engine_bytes(8 * GIB, "int8") == 8 * GIB
    # Calibration holds the model whole and in 16 bit, on however many ranks it is served later.
    calibrated = estimate(8 * GIB, "int8-sq", BuildOptions(tp=4))
    assert (calibrated.gpu_bytes, calibrated.calibration_bytes) == (round(1.1 * 2 * GIB) + 2 * GIB, round(1.2 * 16 * GIB))


@given(st.integers(1, 10**12), st.sampled_from(["fp16", "bf16", "int8", "int8-sq", "fp8"]), st.integers(1, 16))
def test_it_grows_with_the_model_and_shrinks_with_the_ranks(parameters: int, dtype: str, tp: int) -> None:
    one = estimate(parameters, dtype, BuildOptions())  # type: ignore[arg-type]
    more = estimate(parameters + 1, dtype, BuildOptions(tp=tp))  # type: ignore[arg-type]
    assert 0 < engine_bytes(parameters, dtype) < min(one.host_bytes, one.gpu_bytes)  # type: ignore[arg-type]
    assert more.host_bytes >= one.host_bytes
    assert estimate(parameters, dtype, BuildOptions(tp=tp)).gpu_bytes <= one.gpu_bytes  # type: ignore[arg-type]
