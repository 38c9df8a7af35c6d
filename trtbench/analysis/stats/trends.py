"""Lines through points: least squares, and the drift of a series over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trtbench.analysis.stats.estimate import t_975
from trtbench.rundir.samples import Series


@dataclass(frozen=True, slots=True)
class Line:
    """y = intercept + slope x. `half_width`: of the 95 % interval around the slope. `explained_ratio`: R squared, or None if all y are
    equal.
    """

    intercept: float
    slope: float
    half_width: float
    explained_ratio: float | None


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """The least-squares line of at least three points with at least two different x. (Any two points lie on a line.)"""
    xs, ys = np.array(x, float), np.array(y, float)
    slope, intercept = np.polyfit(xs, ys, 1)
    left = float(((ys - slope * xs - intercept) ** 2).sum())
    spread_x, spread_y = (float(((values - values.mean()) ** 2).sum()) for values in (xs, ys))
    error = (left / (len(xs) - 2) / spread_x) ** 0.5
    return Line(float(intercept), float(slope), t_975(len(xs) - 2) * error, 1 - left / spread_y if spread_y > 0 else None)


LEAST_S = 600.0
LEAST_SAMPLES = 100
_BINS = 120
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Drift:
    """The trend of a series, in the unit of the series. `growth_ratio` is slope x length / level at the start."""

    slope_per_hour: float
    late_slope_per_hour: float  # of the second half alone: warming up creeps early, a leak creeps late too
    start: float
    length_s: float
    growth_ratio: float | None


def drift(series: Series, start_ns: int, end_ns: int) -> Drift | None:
    """The trend in a window, or None for less than ten minutes or a hundred readings, which cannot show slow growth."""
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
    """Median of the slopes of all pairs (Sen 1968), which is robust while under 29 % of the points are outliers. x [n] distinct, n >= 2."""
    i, j = np.triu_indices(len(x), 1)
    return float(np.median((y[j] - y[i]) / (x[j] - x[i])))


def _bin_medians(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Medians of at most _BINS bins, which bounds the number of pairs for a run of any length."""
    edges = np.linspace(x[0], x[-1], _BINS + 1)[1:-1]
    groups = np.searchsorted(edges, x, "right")
    kept = np.unique(groups)
    return np.array([np.median(x[groups == g]) for g in kept]), np.array([np.median(y[groups == g]) for g in kept])
