"""The state of GPUs: other processes that use them, their temperature, and what `trtbench gpu status` prints, as plain data."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from trtbench.gpu.inventory import (
    Gpu,
    GpuError,
    GpuProcess,
    cuda_version,
    facts,
    memory_info,
    mig_instances,
    probe,
    processes,
    readings,
    session,
    temperature_c,
)
from trtbench.gpu.journal import Journal, is_claimed, journals
from trtbench.gpu.requested import GIB, RequestedDevice
from trtbench.scenario.deployment.gpu_settings import CoolDown
from trtbench.system.clock import NS_PER_S, now_ns

_LOOK_S = 1.0


@dataclass(frozen=True)
class OtherProcess:
    """A process that uses a device and was not started by this one. `name` is None if this process cannot see the pid, because it is one
    of another container or of the host."""

    pid: int
    name: str | None
    memory_bytes: int | None

    def __str__(self) -> str:
        held = "" if self.memory_bytes is None else f", {self.memory_bytes / GIB:.1f} GiB"
        return f"{self.pid} ({self.name or 'of another container or the host'}{held})"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def own_pids() -> set[int]:
    """The pids of this process and of its descendants."""
    process = psutil.Process()
    return {process.pid} | {child.pid for child in process.children(recursive=True)}


def others(found: Sequence[GpuProcess], own: set[int]) -> list[OtherProcess]:
    return [OtherProcess(one.pid, _name(one.pid), one.memory_bytes) for one in found if one.pid not in own]


def _name(pid: int) -> str | None:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return None


def busy(all_requested: Sequence[RequestedDevice]) -> dict[str, list[OtherProcess]]:
    """Other processes on each device, by the device's label. Devices without any, or that do not report them, are left out."""
    own = own_pids()
    found = {requested.label: others(processes(requested.device.handle) or (), own) for requested in all_requested}
    return {label: there for label, there in found.items() if there}


def check_idle(all_requested: Sequence[RequestedDevice]) -> None:
    """GpuError, with the names of the processes, if another process uses a device."""
    for label, there in busy(all_requested).items():
        raise GpuError(
            f"gpu.require_idle: {label} is used by {', '.join(map(str, there))}: end them, choose other gpu.devices, "
            "or set gpu.require_idle to false (the verdict will name them)"
        )


@dataclass(frozen=True)
class Cooled:
    """The end of a wait for cooler GPUs. `reached` is false if the time was up, the wait was interrupted, or no GPU has a temperature."""

    temperature_c: int | None
    waited_s: float
    reached: bool


async def cool(asked: CoolDown, all_requested: Sequence[RequestedDevice], stopped: Callable[[], bool]) -> Cooled:
    """Wait until the warmest GPU is cool enough, the time is up, or `stopped()` is true."""
    start_ns = now_ns()
    while True:
        reported = [temperature_c(requested.gpu) for requested in all_requested]
        warmest = max((celsius for celsius in reported if celsius is not None), default=None)
        waited_s = (now_ns() - start_ns) / NS_PER_S
        reached = warmest is not None and warmest <= asked.temperature_c
        if reached or warmest is None or stopped() or waited_s >= asked.timeout_s:
            return Cooled(warmest, round(waited_s, 2), reached)
        await asyncio.sleep(min(_LOOK_S, asked.timeout_s - waited_s))


THROTTLE_REASONS = {
    0x1: "idle",
    0x2: "clocks_setting",
    0x4: "power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal",
    0x40: "hw_thermal",
    0x80: "power_brake",
    0x100: "display_clock",
}
"""The bits of NVML's clocks event reasons (nvml.h)."""


def status(directory: Path) -> dict[str, Any]:
    """`{driver, cuda, gpus: [...], journals_of_absent_gpus: [...]}`; GpuError if there is no driver. It changes nothing."""
    with session() as gpus:
        left = journals(directory)
        by_uuid = {journal.uuid: journal for journal in left}
        return {
            "driver": probe(),
            "cuda": cuda_version(),
            "gpus": [_gpu(gpu, by_uuid.get(gpu.uuid), directory) for gpu in gpus],
            "journals_of_absent_gpus": [journal.to_json() for journal in left if journal.uuid not in {gpu.uuid for gpu in gpus}],
        }


def _gpu(gpu: Gpu, journal: Journal | None, directory: Path) -> dict[str, Any]:
    now = readings(gpu)
    if "throttle_reasons" in now:
        now["throttle_reasons"] = throttle_names(now["throttle_reasons"])
    return {
        "index": gpu.index,
        **facts(gpu),
        **now,
        "processes": _processes(gpu.handle),
        "mig_instances": [{"uuid": one.uuid, **memory_info(one.handle), "processes": _processes(one.handle)} for one in mig_instances(gpu)],
        "held": journal and journal.to_json() | {"owner_lives": is_claimed(gpu.uuid, directory)},
    }


def throttle_names(bits: int) -> list[str]:
    known = [name for bit, name in THROTTLE_REASONS.items() if bits & bit]
    unknown = bits & ~sum(THROTTLE_REASONS)
    return [*known, hex(unknown)] if unknown else known


def _processes(handle: Any) -> list[dict[str, Any]] | None:
    found = processes(handle)
    return None if found is None else [asdict(one) for one in others(found, set())]
