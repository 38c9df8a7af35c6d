"""The settings of a GPU that a run may hold, and how each is read, set and restored. No other file changes a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

from trtbench.gpu.inventory import Gpu, GpuError
from trtbench.gpu.journal import Kind

Value = int | str | None

BASE_CLOCK = "base"
"""The clock that the GPU sustains at its power limit. NVML sets it by a name and does not report how many MHz it is."""

_MODES = {"default": pynvml.NVML_COMPUTEMODE_DEFAULT, "exclusive_process": pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS}


@dataclass(frozen=True)
class Setting:
    """The ways to read, write and restore a setting. `read` is None if NVML does not report the current value; `restore` then resets the
    setting to the driver's default."""

    read: Callable[[Any], Value] | None
    write: Callable[[Any, Any], None]
    restore: Callable[[Any, Any], None]


def _lock_sm(handle: Any, mhz: Value) -> None:
    limit = pynvml.NVML_CLOCK_LIMIT_ID_TDP if mhz == BASE_CLOCK else mhz
    pynvml.nvmlDeviceSetGpuLockedClocks(handle, limit, limit)


def _set_compute_mode(handle: Any, mode: int | str) -> None:
    pynvml.nvmlDeviceSetComputeMode(handle, _MODES[mode] if isinstance(mode, str) else mode)


SETTINGS: dict[Kind, Setting] = {
    "persistence_mode": Setting(
        pynvml.nvmlDeviceGetPersistenceMode, pynvml.nvmlDeviceSetPersistenceMode, pynvml.nvmlDeviceSetPersistenceMode
    ),
    "compute_mode": Setting(pynvml.nvmlDeviceGetComputeMode, _set_compute_mode, _set_compute_mode),
    "power_limit_mw": Setting(
        pynvml.nvmlDeviceGetPowerManagementLimit,
        pynvml.nvmlDeviceSetPowerManagementLimit,
        pynvml.nvmlDeviceSetPowerManagementLimit,
    ),
    "memory_clock_mhz": Setting(
        None,
        lambda handle, mhz: pynvml.nvmlDeviceSetMemoryLockedClocks(handle, mhz, mhz),
        lambda handle, _: pynvml.nvmlDeviceResetMemoryLockedClocks(handle),
    ),
    "sm_clock_mhz": Setting(None, _lock_sm, lambda handle, _: pynvml.nvmlDeviceResetGpuLockedClocks(handle)),
}
"""The settings in the order of setting: persistence mode first, because without it the driver unloads and loses clocks and limits."""

_NOT_ALLOWED = (
    "changing it takes root (CAP_SYS_ADMIN): run as root, in a container as root with `--cap-add SYS_ADMIN`, "
    "or ask the cluster's scheduler for a job that may"
)


def read(gpu: Gpu, kind: Kind) -> Value:
    """The current value, or None if NVML does not report it. GpuError if the GPU does not have the setting."""
    ask = SETTINGS[kind].read
    if ask is None:
        return None
    try:
        return ask(gpu.handle)
    except pynvml.NVMLError as error:
        raise refusal(gpu, kind, error) from error


def write(gpu: Gpu, kind: Kind, value: Value) -> None:
    try:
        SETTINGS[kind].write(gpu.handle, value)
    except pynvml.NVMLError as error:
        raise refusal(gpu, kind, error) from error


def restore(gpu: Gpu, kind: Kind, previous: Value) -> None:
    try:
        SETTINGS[kind].restore(gpu.handle, previous)
    except pynvml.NVMLError as error:
        raise refusal(gpu, kind, error) from error


def check_allowed(gpu: Gpu, kind: Kind) -> None:
    """GpuError if this process may not change `kind`. It is tried by setting the current value again, which changes nothing.

    This is not possible for a clock, whose value is not reported, and not safe for persistence mode: switching it off invalidates the
    handle of a GPU with coherent memory (nvml.h). For these, compute mode is tried, which requires the same permission.
    """
    tried: Kind = "power_limit_mw" if kind == "power_limit_mw" else "compute_mode"
    try:
        write(gpu, tried, read(gpu, tried))
    except GpuError as error:
        if isinstance(error.__cause__, pynvml.NVMLError_NoPermission):
            raise refusal(gpu, kind, error.__cause__) from error
        if tried == kind:
            raise


def refusal(gpu: Gpu, kind: Kind, error: Any) -> GpuError:
    why = {
        pynvml.NVMLError_NoPermission: f"user {os.geteuid()} is not allowed to: {_NOT_ALLOWED}",
        pynvml.NVMLError_NotSupported: "this GPU or driver does not have it: leave it out",
        pynvml.NVMLError_FunctionNotFound: "this driver is too old for it: update the driver, or leave it out",
        pynvml.NVMLError_GpuIsLost: "the GPU is lost (fallen off the bus): reset it, or reboot",
    }.get(type(error), f"the driver says: {error}")
    return GpuError(f"GPU {gpu.index} ({gpu.name}): {kind} cannot be set: {why}")


def supported_memory_clocks_mhz(gpu: Gpu) -> list[int]:
    """The memory clocks that the GPU supports; empty if it does not report them."""
    try:
        return sorted(pynvml.nvmlDeviceGetSupportedMemoryClocks(gpu.handle))
    except pynvml.NVMLError:
        return []


def supported_sm_clocks_mhz(gpu: Gpu, memory_clock_mhz: int | None) -> list[int]:
    """The SM clocks that the GPU supports at a memory clock, by default its highest; empty if it does not report them."""
    memory = memory_clock_mhz or max(supported_memory_clocks_mhz(gpu), default=None)
    if memory is None:
        return []
    try:
        return sorted(pynvml.nvmlDeviceGetSupportedGraphicsClocks(gpu.handle, memory))
    except pynvml.NVMLError:
        return []


def power_limits_mw(gpu: Gpu) -> tuple[int, int] | None:
    """(Lowest, highest) power limit that can be set, or None if the GPU does not report them."""
    try:
        low, high = pynvml.nvmlDeviceGetPowerManagementLimitConstraints(gpu.handle)
    except pynvml.NVMLError:
        return None
    return low, high
