"""NVIDIA GPUs through NVML: the samples of a run, what there is, and why there is none. The only file that imports pynvml to read.

NVML numbers GPUs as nvidia-smi does, whatever CUDA_VISIBLE_DEVICES says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pynvml

from trtbench.clock import now_ns
from trtbench.records import Sample

_FIELDS: dict[str, Callable[[Any], float]] = {
    "gpu_utilization_ratio": lambda gpu: pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,  # %: time with a kernel running
    "gpu_memory_used_bytes": lambda gpu: pynvml.nvmlDeviceGetMemoryInfo(gpu).used,  # the driver's own share included: total - free
    "gpu_power_w": lambda gpu: pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000,  # mW
    "gpu_sm_clock_mhz": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM),
    "gpu_temperature_c": lambda gpu: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU),
    # The name from before driver 535, which newer drivers still answer to.
    "gpu_throttle_reasons": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,
}

_FACTS: dict[str, Callable[[Any], Any]] = {
    "name": pynvml.nvmlDeviceGetName,
    "memory_bytes": lambda gpu: pynvml.nvmlDeviceGetMemoryInfo(gpu).total,
    "compute_capability": lambda gpu: ".".join(map(str, pynvml.nvmlDeviceGetCudaComputeCapability(gpu))),
    "power_limit_w": lambda gpu: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000,
    "sm_clock_max_mhz": lambda gpu: pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_SM),
}


class Gpus:
    """Source of the `gpu_*` series, of every GPU that NVML shows; pynvml.NVMLError when there is no NVML."""

    def __init__(self) -> None:
        pynvml.nvmlInit()
        self._gpus = [(str(index), gpu) for index, gpu in enumerate(_handles())]

    def read(self) -> list[Sample]:
        """One reading; a field that a GPU does not support or that fails is left out."""
        samples = []
        for label, gpu in self._gpus:
            samples += [Sample(now_ns(), name, label, float(value)) for name, value in _known(_FIELDS, gpu)]
        return samples

    def close(self) -> None:
        pynvml.nvmlShutdown()


def probe() -> str:
    """The driver's version ("driver 550.54.14"), or in one sentence why there is no GPU to read."""
    try:
        with _session():
            return f"driver {pynvml.nvmlSystemGetDriverVersion()}" if pynvml.nvmlDeviceGetCount() else "the NVIDIA driver shows no GPU"
    except pynvml.NVMLError as error:
        return _WHY_NONE.get(type(error), f"NVML does not start: {error}")


def describe() -> list[dict[str, Any]]:
    """Lasting facts of each GPU, in NVML's order: those of `index` and _FACTS that it tells; empty when there is no NVML."""
    try:
        with _session():
            return [{"index": index} | dict(_known(_FACTS, gpu)) for index, gpu in enumerate(_handles())]
    except pynvml.NVMLError:
        return []


_WHY_NONE = {
    pynvml.NVMLError_LibraryNotFound: "no NVIDIA driver library (libnvidia-ml.so.1) on this machine",
    pynvml.NVMLError_DriverNotLoaded: "the NVIDIA driver library is there, but the kernel driver is not loaded",
    pynvml.NVMLError_NoPermission: "this user may not open the NVIDIA devices (/dev/nvidia*)",
    pynvml.NVMLError_LibRmVersionMismatch: "NVIDIA's library and kernel driver are of different versions: reboot, or restart the container",
}


@contextmanager
def _session() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _handles() -> Iterator[Any]:
    return (pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount()))


def _known(fields: dict[str, Callable[[Any], Any]], gpu: Any) -> Iterator[tuple[str, Any]]:
    for name, ask in fields.items():
        try:
            yield name, ask(gpu)
        except pynvml.NVMLError:
            continue
