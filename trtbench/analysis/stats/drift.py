"""Does something creep over a long stage? A slope that outliers do not move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trtbench.rundir import Series

LEAST_S = 600.0
LEAST_SAMPLES = 100
_BINS = 120
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Drift:
    """In the series' own unit. `growth_ratio` is slope x length / level at the start."""

    slope_per_hour: float
    late_slope_per_hour: float  # of the second half alone: warming up creeps early, a leak creeps late too
    start: float
    length_s: float
    growth_ratio: float | None


def drift(series: Series, start_ns: int, end_ns: int) -> Drift | None:
    """None for a window under ten minutes or a hundred readings: nothing can be said on creeping from less."""
    times, values = series
    within = (times >= start_ns) & (times <= end_ns)
    seconds, read = (times[within] - start_ns) / NS_PER_S, values[within]
    if len(read) < LEAST_SAMPLES or seconds[-1] - seconds[0] < LEAST_S:
        return None
    x, y = _bin_medians(seconds, read)
    half = len(x) // 2
    slope, late = theil_sen(x, y), theil_sen(x[half:], y[half:])
    length = float(x[-1] - x[0])
    start = float(np.median(y - slope * (x - x[0])))
    return Drift(slope * 3600, late * 3600, start, length, slope * length / start if start > 0 else None)


def theil_sen(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Median of the slopes of all pairs (Sen 1968): unmoved while under 29 % of the points are outliers. x [n] distinct, n >= 2."""
    i, j = np.triu_indices(len(x), 1)
    return float(np.median((y[j] - y[i]) / (x[j] - x[i])))


def _bin_medians(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """At most _BINS points, so that all pairs stay few however long the run."""
    edges = np.linspace(x[0], x[-1], _BINS + 1)[1:-1]
    groups = np.searchsorted(edges, x, "right")
    kept = np.unique(groups)
    return np.array([np.median(x[groups == g]) for g in kept]), np.array([np.median(y[groups == g]) for g in kept])
