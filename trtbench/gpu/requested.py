"""The devices and settings that a scenario requests, checked against what the GPUs of this machine support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtbench.gpu.inventory import Gpu, GpuError, MigInstance, memory_info, mig_instances
from trtbench.gpu.journal import Kind
from trtbench.gpu.settings import (
    BASE_CLOCK,
    Value,
    check_allowed,
    power_limits_mw,
    read,
    supported_memory_clocks_mhz,
    supported_sm_clocks_mhz,
)
from trtbench.scenario.deployment.gpu_settings import GpuControl

GIB = 1 << 30
MAX_CLOCK = "max"
_OF_THE_WHOLE_GPU = ("sm_clock_mhz", "memory_clock_mhz", "power_limit_w", "persistence_mode", "compute_mode")


@dataclass(frozen=True)
class RequestedDevice:
    """A device and the settings to hold on it, in MHz, mW and NVML's modes. Claims, journals and events name it by `device.uuid`."""

    device: Gpu | MigInstance
    settings: Mapping[Kind, Value]

    @property
    def gpu(self) -> Gpu:
        return self.device.gpu if isinstance(self.device, MigInstance) else self.device

    @property
    def label(self) -> str:
        """The device's name in messages."""
        return f"GPU {self.gpu.index}" + (f" instance {self.device.uuid}" if isinstance(self.device, MigInstance) else "")


def resolve(asked: GpuControl, gpus: Sequence[Gpu]) -> list[RequestedDevice]:
    """The devices that a scenario requests; GpuError names the key, the value and the devices that exist."""
    if not gpus:
        raise GpuError("gpu: the NVIDIA driver shows no GPU: leave gpu out, or make one visible (in a container `--gpus all`)")
    names = asked.devices if asked.devices is not None else [gpu.index for gpu in gpus]
    devices = [_device(name, gpus) for name in names]
    for one in devices:
        if devices.count(one) > 1:
            raise GpuError(f"gpu.devices {list(names)} names {one.uuid} by index and by UUID: name it once")
    return [_requested_device(asked, device) for device in devices]


def check(asked: GpuControl, all_requested: Sequence[RequestedDevice]) -> None:
    """GpuError if this process may not change a setting, or if less memory is free than is to be held."""
    for requested in all_requested:
        for kind in requested.settings:
            read(requested.gpu, kind)
            check_allowed(requested.gpu, kind)
        _check_ballast(asked, requested)


def _device(name: int | str, gpus: Sequence[Gpu]) -> Gpu | MigInstance:
    for gpu in gpus:
        if name in (gpu.index, gpu.uuid):
            return gpu
        for instance in mig_instances(gpu):
            if name == instance.uuid:
                return instance
    there = ", ".join(f"{gpu.index} ({gpu.name}, {gpu.uuid})" for gpu in gpus)
    raise GpuError(f"gpu.devices: there is no GPU {name}; the GPUs are {there}; `trtbench gpu status` lists their MIG instances")


def _requested_device(asked: GpuControl, device: Gpu | MigInstance) -> RequestedDevice:
    if isinstance(device, MigInstance):
        whole = [key for key in _OF_THE_WHOLE_GPU if getattr(asked, key) is not None]
        if whole:
            raise GpuError(
                f"gpu.{whole[0]}: {device.uuid} is a MIG instance, but clocks, power limit and modes apply to the whole GPU: "
                f"name GPU {device.gpu.index} in gpu.devices, whose instances all share them, or leave {', '.join(whole)} out"
            )
        return RequestedDevice(device, {})
    if device.mig and asked.holds_memory:
        raise GpuError(f"gpu.devices: GPU {device.index} is divided into MIG instances: name the instance whose memory is to be held")
    return RequestedDevice(device, _settings(asked, device))


def _settings(asked: GpuControl, gpu: Gpu) -> dict[Kind, Value]:
    memory_mhz = _memory_clock(asked.memory_clock_mhz, gpu)
    values: dict[Kind, Any] = {
        "persistence_mode": None if asked.persistence_mode is None else int(asked.persistence_mode),
        "compute_mode": asked.compute_mode,
        "power_limit_mw": None if asked.power_limit_w is None else _power_limit(asked.power_limit_w, gpu),
        "memory_clock_mhz": memory_mhz,
        "sm_clock_mhz": _sm_clock(asked.sm_clock_mhz, memory_mhz, gpu),
    }
    return {kind: value for kind, value in values.items() if value is not None}


def _memory_clock(asked: int | str | None, gpu: Gpu) -> int | None:
    return None if asked is None else _clock("memory_clock_mhz", asked, supported_memory_clocks_mhz(gpu), gpu)


def _sm_clock(asked: int | str | None, memory_mhz: int | None, gpu: Gpu) -> int | str | None:
    if asked is None or asked == BASE_CLOCK:
        return asked
    return _clock("sm_clock_mhz", asked, supported_sm_clocks_mhz(gpu, memory_mhz), gpu)


def _clock(key: str, asked: int | str, supported: Sequence[int], gpu: Gpu) -> int:
    """The clock in MHz, which is one of `supported`: NVML accepts any other number too, and then sets a different clock."""
    if not supported:
        raise GpuError(f"gpu.{key}: GPU {gpu.index} ({gpu.name}) does not list the clocks it supports: leave it out")
    if asked == MAX_CLOCK:
        return max(supported)
    if asked in supported:
        return int(asked)
    nearest = min(supported, key=lambda mhz: (abs(mhz - int(asked)), mhz))
    raise GpuError(
        f"gpu.{key}: GPU {gpu.index} ({gpu.name}) has no clock of {asked} MHz; the nearest is {nearest}, "
        f"the range {min(supported)} to {max(supported)}"
    )


def _power_limit(asked_w: float, gpu: Gpu) -> int:
    limits = power_limits_mw(gpu)
    if limits is None:
        raise GpuError(f"gpu.power_limit_w: GPU {gpu.index} ({gpu.name}) has no power limit that can be set: leave it out")
    asked_mw = round(asked_w * 1000)
    if not limits[0] <= asked_mw <= limits[1]:
        low, high = (f"{limit / 1000:g}" for limit in limits)
        raise GpuError(f"gpu.power_limit_w: GPU {gpu.index} ({gpu.name}) takes {low} to {high} W, not {asked_w:g}")
    return asked_mw


def _check_ballast(asked: GpuControl, requested: RequestedDevice) -> None:
    """GpuError if less memory is free now than is to be held; the ballast's process checks again when it allocates it."""
    key = "memory_ballast_gib" if asked.memory_ballast_gib is not None else "memory_leave_free_gib"
    wanted_gib = getattr(asked, key)
    free = memory_info(requested.device.handle).get("memory_free_bytes")
    if wanted_gib is not None and free is not None and free < wanted_gib * GIB:
        raise GpuError(
            f"gpu.{key}: {requested.label} has {free / GIB:.1f} GiB free, {wanted_gib:g} GiB are requested: "
            "lower the value, or free memory on the GPU"
        )
