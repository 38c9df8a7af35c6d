"""The GPUs that a build would run on, from the CUDA driver itself: `python -m trtbench.engine.cuda` prints them as JSON.

A process of its own, since a CUDA context stays with the process that made it. CUDA_VISIBLE_DEVICES counts, as for the build.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import asdict, dataclass

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_NAME_BYTES = 96
_TIMEOUT_S = 60


@dataclass(frozen=True)
class CudaGpu:
    """`sm`: compute capability times ten, 90 for 9.0. `free_bytes`: what other processes leave."""

    name: str
    sm: int
    total_bytes: int
    free_bytes: int


class CudaError(RuntimeError):
    """A call to the driver failed; the message names it and its CUresult."""


def visible_gpus() -> tuple[CudaGpu, ...]:
    """Empty when there is no driver or it shows no GPU."""
    command = [sys.executable, "-m", "trtbench.engine.cuda"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        return tuple(CudaGpu(**gpu) for gpu in json.loads(done.stdout))
    except (subprocess.SubprocessError, ValueError, TypeError):
        return ()


def ask_driver() -> list[CudaGpu]:
    """OSError when there is no driver, CudaError when it refuses."""
    driver = ctypes.CDLL("libcuda.so.1")
    count = ctypes.c_int()
    _call(driver, "cuInit", 0)
    _call(driver, "cuDeviceGetCount", ctypes.byref(count))
    return [_describe(driver, index) for index in range(count.value)]


def _describe(driver: ctypes.CDLL, index: int) -> CudaGpu:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    _call(driver, "cuDeviceGet", ctypes.byref(device), index)
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(major), _MAJOR, device)
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(minor), _MINOR, device)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    _call(driver, "cuDeviceGetName", name, _NAME_BYTES, device)
    free, total = _memory(driver, device)
    return CudaGpu(name.value.decode(errors="replace"), major.value * 10 + minor.value, total, free)


def _memory(driver: ctypes.CDLL, device: ctypes.c_int) -> tuple[int, int]:
    """(Free, total) bytes; the driver tells it inside a context only."""
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    _call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    try:
        _call(driver, "cuCtxSetCurrent", context)
        _call(driver, "cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    finally:
        _call(driver, "cuDevicePrimaryCtxRelease_v2", device)
    return free.value, total.value


def _call(driver: ctypes.CDLL, name: str, *arguments: object) -> None:
    result = getattr(driver, name)(*arguments)
    if result:
        raise CudaError(f"{name} failed (CUresult {result})")


if __name__ == "__main__":
    try:
        print(json.dumps([asdict(gpu) for gpu in ask_driver()]))
    except (OSError, CudaError) as error:
        sys.exit(str(error))
