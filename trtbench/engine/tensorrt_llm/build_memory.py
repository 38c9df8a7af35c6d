"""What a TensorRT-LLM build needs of host and GPU memory, estimated from above.

The constants are read off eight published build logs of TensorRT-LLM 0.7 to 1.0 (0.1 to 35 billion parameters, FP16, BF16, W8A16 and
W4A16), listed in tests/engine/tensorrt_llm/test_build_memory.py. They bound each of them; none of those builds was ours.
None calibrated: that constant is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

from trtbench.engine.tensorrt_llm.quantisation import calibrates
from trtbench.scenario.deployment.build_options import BuildOptions, Dtype

_GIB = 1 << 30
_WEIGHT_BYTES: dict[Dtype, int] = {"fp16": 2, "bf16": 2, "int8": 1, "int8-sq": 1, "fp8": 1}
_HOST_WEIGHTS, _HOST_BASE_BYTES = 2.6, 8 * _GIB  # the network holds the weights, the serialised engine again
_GPU_WEIGHTS, _GPU_BASE_BYTES = 1.1, 2 * _GIB  # the kernels are timed on the weights
_CALIBRATION_WEIGHT_BYTES = 2  # the model runs in 16 bit, whole: both calibrators load it with device_map auto, over all GPUs
_OVERHEAD = 1.2  # of activations and observers; assumed


@dataclass(frozen=True)
class BuildMemory:
    """`gpu_bytes` of one GPU, the rank's; `calibration_bytes` of all GPUs together, 0 where nothing is calibrated."""

    host_bytes: int
    gpu_bytes: int
    calibration_bytes: int


def engine_bytes(parameters: int, dtype: Dtype) -> int:
    """The weights of all ranks together."""
    return parameters * _WEIGHT_BYTES[dtype]


def estimate(parameters: int, dtype: Dtype, options: BuildOptions) -> BuildMemory:
    """host = 2.6 x weights + 8 GiB; gpu = 1.1 x weights of a rank + 2 GiB; calibration = 1.2 x 2 bytes x parameters."""
    weights = engine_bytes(parameters, dtype)
    calibration = _OVERHEAD * _CALIBRATION_WEIGHT_BYTES * parameters if calibrates(dtype, options) else 0
    return BuildMemory(
        host_bytes=round(_HOST_WEIGHTS * weights + _HOST_BASE_BYTES),
        gpu_bytes=round(_GPU_WEIGHTS * weights / options.ranks + _GPU_BASE_BYTES),
        calibration_bytes=round(calibration),
    )
