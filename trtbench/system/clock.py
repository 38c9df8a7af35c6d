"""The only place that reads time.

Every instant in a run directory is an integer number of nanoseconds of the machine's one monotonic clock
(CLOCK_MONOTONIC: the same in every process of this machine, the server's included). One `WallAnchor` per run ties it to UTC.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone

NS_PER_S = 1_000_000_000
_OFFSET_READINGS = 8


now_ns = time.monotonic_ns
"""This instant on the run's clock. No function around it: it is read for every response."""


def cpu_ns() -> int:
    """CPU time that this process has used, all its threads."""
    return time.process_time_ns()


def seconds_ns(seconds: float) -> int:
    """A length of time in integer nanoseconds."""
    return round(seconds * NS_PER_S)


def sleep_s(seconds: float) -> None:
    """Block this thread; for polling loops outside a measurement."""
    time.sleep(seconds)


def wall_offset() -> tuple[int, int]:
    """The wall clock minus the run's clock, and how far that may be off; ns. The narrowest of several readings in brackets."""
    best = (NS_PER_S, 0)
    for _ in range(_OFFSET_READINGS):
        before_ns = time.monotonic_ns()
        wall_ns = time.time_ns()
        after_ns = time.monotonic_ns()
        best = min(best, (after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2))
    return best[1], best[0] // 2 + 1


@dataclass(frozen=True)
class WallAnchor:
    """One instant read on both clocks."""

    monotonic_ns: int
    wall_ns: int

    @classmethod
    def read(cls) -> WallAnchor:
        return cls(time.monotonic_ns(), time.time_ns())

    def utc(self, instant_ns: int) -> datetime:
        """The UTC date of an instant of the run's clock."""
        wall_ns = self.wall_ns + instant_ns - self.monotonic_ns
        return datetime.fromtimestamp(wall_ns / NS_PER_S, timezone.utc)
