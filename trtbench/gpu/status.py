"""Everything that `trtbench gpu status` tells, as plain data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from trtbench.gpu.idle import OtherProcess, others
from trtbench.gpu.journal import Journal, is_claimed, journals
from trtbench.gpu.nvml import Gpu, cuda_version, facts, memory_info, mig_instances, probe, processes, readings, session

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
"""Bits of NVML's clocks-event reasons (nvml.h)."""


def status(directory: Path) -> dict[str, Any]:
    """`{driver, cuda, gpus: [...], journals: [...]}`; GpuError when there is no driver. Changes nothing."""
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
    told: list[OtherProcess] | None = None if found is None else others(found, set())
    return None if told is None else [asdict(one) for one in told]
