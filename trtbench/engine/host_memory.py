"""Host memory that a build can have: the machine's, or what the container's limit leaves of it."""

from __future__ import annotations

from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")  # version 2; inside a container it is the container's own


def available_bytes() -> int:
    limit = left_by_cgroup(_CGROUP)
    machine = int(psutil.virtual_memory().available)
    return machine if limit is None else min(machine, limit)


def left_by_cgroup(group: Path) -> int | None:
    """limit - use + page cache that can go; None where there is no limit, or it cannot be read."""
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        lines = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return None if limit == "max" else max(0, int(limit) - used + int(lines.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None
