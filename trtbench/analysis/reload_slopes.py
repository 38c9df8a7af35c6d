"""What reloads leave behind: a rise per reload, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.estimate import t_975
from trtbench.rundir import Samples, Series

LEFT_BEHIND = ("server_rss_bytes", "server_fds", "server_threads", "gpu_memory_used_bytes")
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


def rise(series: Series, borders_ns: Sequence[int]) -> Rise | None:
    """Of the readings at or before each border; None of fewer than three."""
    found = [(i, value) for i, at in enumerate(borders_ns) if (value := last_before(series, at)) is not None]
    if len(found) < LEAST_READINGS:
        return None
    x, y = np.array(found, float).T
    slope, level = np.polyfit(x, y, 1)
    spread = float(((x - x.mean()) ** 2).sum())
    residual = float(((y - slope * x - level) ** 2).sum())
    error = (residual / (len(x) - 2) / spread) ** 0.5
    return Rise(float(slope), t_975(len(x) - 2) * error, len(x), float(y[0]))


def last_before(series: Series, at_ns: int) -> float | None:
    times, values = series
    position = int(np.searchsorted(times, at_ns, "right")) - 1
    return float(values[position]) if position >= 0 else None


def gpu_memory(samples: Samples) -> Series:
    """Used bytes of all GPUs added, at the readings of the first; empty without one."""
    labels = samples.labels("gpu_memory_used_bytes")
    if not labels:
        return samples.series("gpu_memory_used_bytes")
    times, total = samples.series("gpu_memory_used_bytes", labels[0])
    for label in labels[1:]:
        total = total + np.array([last_before(samples.series("gpu_memory_used_bytes", label), int(at)) or 0.0 for at in times])
    return times, total
