"""The GPUs that NVML lists, with their facts and readings. `gpu/settings.py` changes their settings, `telemetry/nvml.py` samples them.

NVML numbers GPUs as nvidia-smi does, whatever the value of CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pynvml

from trtbench.errors import UserError

_NO_DRIVER = {
    pynvml.NVMLError_LibraryNotFound: "no NVIDIA driver library (libnvidia-ml.so.1) on this machine",
    pynvml.NVMLError_DriverNotLoaded: "the NVIDIA driver library is there, but the kernel driver is not loaded",
    pynvml.NVMLError_NoPermission: "this user may not open the NVIDIA devices (/dev/nvidia*)",
    pynvml.NVMLError_LibRmVersionMismatch: "NVIDIA's library and kernel driver are of different versions: reboot, or restart the container",
}

_COMPUTE_MODES = {0: "default", 2: "prohibited", 3: "exclusive_process"}  # nvmlComputeMode_t; 1 is no longer supported

_FACTS: dict[str, Callable[[Any], Any]] = {
    "name": pynvml.nvmlDeviceGetName,
    "uuid": pynvml.nvmlDeviceGetUUID,
    "memory_bytes": lambda gpu: pynvml.nvmlDeviceGetMemoryInfo(gpu).total,
    "compute_capability": lambda gpu: ".".join(map(str, pynvml.nvmlDeviceGetCudaComputeCapability(gpu))),
    "power_limit_w": lambda gpu: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000,
    "power_limit_default_w": lambda gpu: pynvml.nvmlDeviceGetPowerManagementDefaultLimit(gpu) / 1000,
    "sm_clock_max_mhz": lambda gpu: pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_SM),
    "memory_clock_max_mhz": lambda gpu: pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_MEM),
    "persistence_mode": lambda gpu: bool(pynvml.nvmlDeviceGetPersistenceMode(gpu)),
    "compute_mode": lambda gpu: _COMPUTE_MODES.get(mode := pynvml.nvmlDeviceGetComputeMode(gpu), str(mode)),
    "ecc": lambda gpu: bool(pynvml.nvmlDeviceGetEccMode(gpu)[0]),
    "mig": lambda gpu: bool(pynvml.nvmlDeviceGetMigMode(gpu)[0]),
}
"""What does not change during a run."""

_READINGS: dict[str, Callable[[Any], Any]] = {
    "sm_clock_mhz": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM),
    "memory_clock_mhz": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_MEM),
    "power_w": lambda gpu: pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    "temperature_c": lambda gpu: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU),
    "memory_used_bytes": lambda gpu: pynvml.nvmlDeviceGetMemoryInfo(gpu).used,
    "memory_free_bytes": lambda gpu: pynvml.nvmlDeviceGetMemoryInfo(gpu).free,
    "utilization_ratio": lambda gpu: pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
    "throttle_reasons": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,
    "ecc_uncorrected": lambda gpu: pynvml.nvmlDeviceGetTotalEccErrors(
        gpu, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    ),
}


class GpuError(UserError):
    """A GPU cannot be used as requested; the message names it, the reason and what to do."""


@dataclass(frozen=True)
class Gpu:
    """A GPU. `index` is NVML's; `mig` is whether it is divided into MIG instances, on which work then runs."""

    index: int
    uuid: str
    name: str
    mig: bool
    handle: Any = field(repr=False, compare=False)


@dataclass(frozen=True)
class MigInstance:
    gpu: Gpu
    uuid: str
    handle: Any = field(repr=False, compare=False)


@dataclass(frozen=True)
class GpuProcess:
    """A process with a compute context. `memory_bytes` is None if the driver does not report it."""

    pid: int
    memory_bytes: int | None


@contextmanager
def session() -> Iterator[list[Gpu]]:
    """The GPUs of this machine, usable while the block runs; GpuError if there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise GpuError(f"no NVIDIA driver here: {_why_none(error)}") from error
    try:
        yield list(_gpus())
    finally:
        pynvml.nvmlShutdown()


def probe() -> str:
    """The driver's version ("driver 550.54.14"), or in one sentence why no GPU can be read."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return _why_none(error)
    try:
        return f"driver {pynvml.nvmlSystemGetDriverVersion()}" if pynvml.nvmlDeviceGetCount() else "the NVIDIA driver shows no GPU"
    finally:
        pynvml.nvmlShutdown()


def describe() -> list[dict[str, Any]]:
    """The index and the facts of each GPU in NVML's order, without those that a GPU does not report; empty if there is no NVML."""
    try:
        with session() as gpus:
            return [{"index": gpu.index} | facts(gpu) for gpu in gpus]
    except GpuError:
        return []


def facts(gpu: Gpu) -> dict[str, Any]:
    return dict(_known(_FACTS, gpu.handle))


def readings(gpu: Gpu) -> dict[str, Any]:
    """The current state of a GPU, without what it does not report."""
    return dict(_known(_READINGS, gpu.handle))


def cuda_devices() -> dict[int | str, str]:
    """The name in CUDA_VISIBLE_DEVICES of each device that work can run on, by its index and by its UUID; empty if there is no NVML.

    A GPU that is divided into MIG instances is left out; its instances are listed by their UUIDs. The name of a device is its UUID, or
    its index if the driver does not report a UUID.
    """
    found: dict[int | str, str] = {}
    try:
        with session() as gpus:
            for gpu in gpus:
                found |= {one.uuid: one.uuid for one in mig_instances(gpu)}
                if not gpu.mig:
                    name = facts(gpu).get("uuid", str(gpu.index))
                    found |= {gpu.index: name, name: name}
    except GpuError:
        pass
    return found


def cuda_version() -> str | None:
    """The newest version of CUDA that the driver supports."""
    try:
        version = pynvml.nvmlSystemGetCudaDriverVersion()
    except pynvml.NVMLError:
        return None
    return f"{version // 1000}.{version % 1000 // 10}"


def temperature_c(gpu: Gpu) -> int | None:
    """The temperature of a GPU, or None if it does not report one or does not answer any more."""
    known = dict(_known({"temperature_c": _READINGS["temperature_c"]}, gpu.handle))
    return known.get("temperature_c")


def mig_instances(gpu: Gpu) -> list[MigInstance]:
    if not gpu.mig:
        return []
    found = []
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu.handle)):
        try:
            handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu.handle, number)
        except pynvml.NVMLError:  # there is no instance with this number
            continue
        found.append(MigInstance(gpu, pynvml.nvmlDeviceGetUUID(handle), handle))
    return found


def processes(handle: Any) -> list[GpuProcess] | None:
    """Processes with a compute context, with the pids of the driver's namespace; None if the driver does not report them."""
    try:
        found = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:
        return None
    return [GpuProcess(one.pid, one.usedGpuMemory) for one in found]


def memory_info(handle: Any) -> dict[str, int]:
    """memory_bytes, memory_used_bytes and memory_free_bytes of a GPU or MIG instance; empty if it does not report them."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError:
        return {}
    return {"memory_bytes": memory.total, "memory_used_bytes": memory.used, "memory_free_bytes": memory.free}


def _gpus() -> Iterator[Gpu]:
    """The GPUs that this process may open. NVML counts all of the node, also where a cluster's scheduler assigned only some to this job."""
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError:  # of another job, or lost
            continue
        known = dict(_known({name: _FACTS[name] for name in ("name", "uuid", "mig")}, handle))
        yield Gpu(index, known.get("uuid", f"GPU-{index}"), known.get("name", "unnamed"), known.get("mig", False), handle)


def _why_none(error: Any) -> str:
    return _NO_DRIVER.get(type(error), f"NVML does not start: {error}")


def _known(fields: dict[str, Callable[[Any], Any]], handle: Any) -> Iterator[tuple[str, Any]]:
    for name, ask in fields.items():
        try:
            yield name, ask(handle)
        except pynvml.NVMLError:
            continue
