"""What reloads leave behind: a rise per reload, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtbench.analysis.stats.line import fit_line
from trtbench.analysis.stats.window import last_before
from trtbench.rundir import Series
from trtbench.rundir.series import SeriesName

LEFT_BEHIND: tuple[SeriesName, ...] = ("server_rss_bytes", "server_fds", "server_threads", "gpu_memory_used_bytes")
LEAST_READINGS = 3
LEAK_READINGS = 5
_LEAK_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class Rise:
    """Least squares over `readings` of a series, one at each border between reloads, in its own unit.

    `half_width`: of the 95 % confidence interval around `per_reload`. `start`: the first reading.
    """

    per_reload: float
    half_width: float
    readings: int
    start: float

    @property
    def is_leak(self) -> bool:
        """It surely rises, by more than 5 % in all, over enough readings to tell a rise from a warm-up."""
        rises = self.readings >= LEAK_READINGS and self.per_reload > self.half_width
        return rises and self.per_reload * (self.readings - 1) > _LEAK_RATIO * self.start


def rise(series: Series, borders_ns: Sequence[int | None]) -> Rise | None:
    """Of the readings at or before each border that is one; None of fewer than three."""
    known = [(i, at) for i, at in enumerate(borders_ns) if at is not None]
    found = [(i, value) for i, at in known if (value := last_before(series, at)) is not None]
    if len(found) < LEAST_READINGS:
        return None
    line = fit_line(*zip(*found, strict=True))
    return Rise(line.slope, line.half_width, len(found), found[0][1])
