"""The clock of a run.

Every instant in a run directory is an integer number of nanoseconds of the machine's monotonic clock (CLOCK_MONOTONIC), which reads the
same in every process of the machine, the server included. One `WallAnchor` a run relates it to UTC.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone

NS_PER_S = 1_000_000_000
_OFFSET_READINGS = 8


now_ns = time.monotonic_ns
"""The current instant on the run's clock. It is an alias and not a function, because it is read for every response."""


def cpu_ns() -> int:
    """CPU time that all threads of this process have used."""
    return time.process_time_ns()


def seconds_ns(seconds: float) -> int:
    """A duration in integer nanoseconds."""
    return round(seconds * NS_PER_S)


def sleep_s(seconds: float) -> None:
    """Block this thread. Only polling loops outside a measurement use it."""
    time.sleep(seconds)


def wall_offset() -> tuple[int, int]:
    """The wall clock minus the run's clock, and the largest error of that; both in ns.

    The wall clock is read between two readings of the run's clock; of several attempts the one with the shortest interval counts.
    """
    best = (NS_PER_S, 0)
    for _ in range(_OFFSET_READINGS):
        before_ns = time.monotonic_ns()
        wall_ns = time.time_ns()
        after_ns = time.monotonic_ns()
        best = min(best, (after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2))
    return best[1], best[0] // 2 + 1


@dataclass(frozen=True)
class WallAnchor:
    """One instant, read on the run's clock and on the wall clock."""

    monotonic_ns: int
    wall_ns: int

    @classmethod
    def read(cls) -> WallAnchor:
        return cls(time.monotonic_ns(), time.time_ns())

    def utc(self, instant_ns: int) -> datetime:
        """An instant of the run's clock as a date in UTC."""
        wall_ns = self.wall_ns + instant_ns - self.monotonic_ns
        return datetime.fromtimestamp(wall_ns / NS_PER_S, timezone.utc)
