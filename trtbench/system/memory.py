"""Memory: how much this process and its children may still use, whether the kernel killed any of them because memory ran out, and which
kind of memory ran out according to an error message or a log.

The limits are those of the machine and of each control group from this process's own up to the root of the mount, which in a container
are the container's (cgroup v2: memory.max, memory.high, memory.current; v1: memory.limit_in_bytes, memory.usage_in_bytes).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

Memory = Literal["device", "host"]

_HOST = re.compile(
    r"bad_alloc|\bMemoryError\b|cannot allocate memory|\bENOMEM\b|DefaultCPUAllocator: (?:can't|not enough)"
    r"|(?:cudaMallocHost|cudaHostAlloc|cudaHostRegister|cuMemHostAlloc)[^\n]{0,200}(?:out of memory|memory ?allocation)",
    re.IGNORECASE,
)
"""CUDA's calls for pinned memory report `out of memory` when the host's memory is exhausted."""
_DEVICE = re.compile(
    r"\b(?:CUDA|HIP|cudnn)\b[^\n]{0,200}out of memory|OutOfMemoryError|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY"
    r"|CUBLAS_STATUS_ALLOC_FAILED|(?:cudaMalloc|cuMemAlloc|allocateAsync)[^\n]{0,200}out of memory"
    r"|Requested amount of GPU memory \(\d{1,20} bytes\) could not be allocated",
    re.IGNORECASE,
)


def short_memory(text: str) -> Memory | None:
    """The memory that ran out according to an error or a log: None if none did, or if the text does not name which."""
    if _HOST.search(text):
        return "host"
    return "device" if _DEVICE.search(text) else None


def is_kv_cache_full(text: str) -> bool:
    """Whether an error reports that the KV cache has too few blocks, now or at its full size."""
    return re.search(r"kv[ _]?cache|no free blocks|can't allocate new blocks", text, re.IGNORECASE) is not None


_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_V2_MOUNTS, _V1_MOUNT = ("", "unified"), "memory"  # under /sys/fs/cgroup; unified: v2 on a machine that has v1 too
_NO_LIMIT_BYTES = 1 << 60  # v1 writes the largest page-aligned number where there is no limit


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """A limit on memory. `available_bytes` can be allocated without swapping or being killed; for a control group it is its limit minus
    its use, where file pages that the kernel can drop do not count as used."""

    kind: Literal["machine", "cgroup"]
    limit_bytes: int
    available_bytes: int

    @property
    def ratio(self) -> float:
        return self.available_bytes / self.limit_bytes if self.limit_bytes else 0.0


OomKill = Literal["certain", "likely", "none", "unknown"]


class OomKills(NamedTuple):
    """The kernel's counts of processes killed because memory ran out, in this process's control group and on the machine.

    None where the kernel does not report a count."""

    group: int | None
    machine: int | None

    def since(self, before: OomKills) -> OomKill:
        """Whether a process of this group was killed since `before`. "likely" means that some process of the machine was, and that the
        group has no count."""
        if self.group is not None and before.group is not None:
            return "certain" if self.group > before.group else "none"
        if self.machine is None or before.machine is None:
            return "unknown"
        return "likely" if self.machine > before.machine else "none"


def memory_bounds(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> tuple[MemoryBound, ...]:
    """The bound of the machine and of each control group that has a limit, from this process's own group upwards."""
    memory = psutil.virtual_memory()
    found = [_group_bound(group) for group in _groups(proc, cgroups)]
    return (MemoryBound("machine", memory.total, memory.available), *(bound for bound in found if bound))


def tightest_bound(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> MemoryBound:
    """The bound with the smallest share available."""
    return min(memory_bounds(proc, cgroups), key=lambda bound: bound.ratio)


def oom_kills(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> OomKills:
    counts = [_keyed(group / name, "oom_kill") for group in _groups(proc, cgroups) for name in ("memory.events", "memory.oom_control")]
    return OomKills(next((count for count in counts if count is not None), None), _keyed(proc / "vmstat", "oom_kill"))


def _groups(proc: Path, cgroups: Path) -> Iterator[Path]:
    """The control groups of this process that exist in the mount, from its own upwards; in a container often only the root exists."""
    for line in (_text(proc / "self/cgroup") or "").splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        mounts = _V2_MOUNTS if number == "0" else (_V1_MOUNT,) if "memory" in controllers.split(",") else ()
        for mount in mounts:
            root = cgroups / mount
            own = Path(path.lstrip("/"))
            if ".." not in own.parts:  # otherwise the group is outside what this mount shows
                yield from (place for relative in (own, *own.parents) if (place := root / relative).is_dir())


def _group_bound(group: Path) -> MemoryBound | None:
    limits = [_number(group / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
    known = [limit for limit in limits if limit is not None and limit < _NO_LIMIT_BYTES]
    used = next((n for name in ("memory.current", "memory.usage_in_bytes") if (n := _number(group / name)) is not None), None)
    if not known or used is None:
        return None
    droppable = _keyed(group / "memory.stat", "total_inactive_file")  # v1: includes the groups below
    if droppable is None:
        droppable = _keyed(group / "memory.stat", "inactive_file") or 0
    return MemoryBound("cgroup", min(known), max(0, min(known) - max(0, used - droppable)))


def _number(path: Path) -> int | None:
    """The number in a file, or None if there is no such file or it contains `max`."""
    text = (_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def _keyed(path: Path, key: str) -> int | None:
    """The number after `key` in a file with lines of "key number"."""
    for line in (_text(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.strip().isdigit():
            return int(value)
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
