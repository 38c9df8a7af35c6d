"""Lines through points by least squares, and the drift of a series over time: its slope by Theil and Sen, with an interval that allows for
readings that depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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
_Z_975 = 1.959964
NS_PER_S = 1_000_000_000
_S_PER_HOUR = 3600

Floats = npt.NDArray[np.float64]
Of = Literal["median", "mean"]


@dataclass(frozen=True, slots=True)
class Drift:
    """The trend of a series, in the unit of the series. `growth_ratio` is slope x length / level at the start.

    `low_per_hour` and `high_per_hour`: the 95 % interval of the slope. A growth above `high_per_hour` would have been seen.
    """

    slope_per_hour: float
    late_slope_per_hour: float  # of the second half alone: warming up creeps early, a leak creeps late too
    start: float
    length_s: float
    growth_ratio: float | None
    low_per_hour: float | None = None
    high_per_hour: float | None = None

    @property
    def grows(self) -> bool:
        """Whether the whole interval is above zero. Without an interval, as in a Drift of three bins or fewer, the slope decides."""
        return self.slope_per_hour > 0 if self.low_per_hour is None else self.low_per_hour > 0

    @property
    def hidden_per_hour(self) -> float | None:
        """The largest growth an hour that the readings do not exclude: any larger one would have been seen."""
        return None if self.high_per_hour is None else max(0.0, self.high_per_hour)


def drift(series: Series, start_ns: int, end_ns: int, of: Of = "median") -> Drift | None:
    """The trend in a window, or None for less than ten minutes or a hundred readings, which cannot show slow growth.

    Slopes are of bins of time, at most 120, each with the median or the mean of its readings.
    """
    times, values = series
    within = (times >= start_ns) & (times <= end_ns)
    seconds, read = (times[within] - start_ns) / NS_PER_S, values[within]
    if len(read) < LEAST_SAMPLES or seconds[-1] - seconds[0] < LEAST_S:
        return None
    x, y = _bins(seconds, read, of)
    half = len(x) // 2
    slope, late = theil_sen(x, y), theil_sen(x[half:], y[half:])
    length = float(x[-1] - x[0])
    start = float(np.median(y - slope * (x - x[0])))
    low, high = slope_interval(x, y, dependence(x, y, slope))
    hours = (_S_PER_HOUR * slope, _S_PER_HOUR * late)
    return Drift(*hours, start, length, slope * length / start if start > 0 else None, _S_PER_HOUR * low, _S_PER_HOUR * high)


def theil_sen(x: Floats, y: Floats) -> float:
    """Median of the slopes of all pairs (Sen 1968), which is robust while under 29 % of the points are outliers. x [n] distinct, n >= 2."""
    return float(np.median(_slopes(x, y)))


def slope_interval(x: Floats, y: Floats, inflation: float = 1.0) -> tuple[float, float]:
    """The 95 % interval of the slope: the slopes whose ranks are the middle +- half of 1.96 standard deviations of Kendall's S, with ties
    of y (Sen 1968, equation 2.6). `inflation` multiplies the variance of S.
    """
    slopes, n = np.sort(_slopes(x, y)), len(x)
    _, ties = np.unique(y, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    spread = _Z_975 * math.sqrt(max(variance, 0.0) * inflation)
    upper = min(round((len(slopes) + spread) / 2), len(slopes) - 1)
    lower = max(round((len(slopes) - spread) / 2) - 1, 0)
    return float(slopes[lower]), float(slopes[upper])


def dependence(x: Floats, y: Floats, slope: float) -> float:
    """The factor by which neighbours that are alike enlarge the variance of a trend: (1 + r) / (1 - r), where r is the correlation of
    consecutive residuals (a first-order autoregression), at least 1.
    """
    left = y - slope * x
    left = left - left.mean()
    total = float((left**2).sum())
    r = float((left[1:] * left[:-1]).sum()) / total if total > 0 else 0.0
    return (1 + r) / (1 - r) if 0 < r < 1 else 1.0


def _slopes(x: Floats, y: Floats) -> Floats:
    i, j = np.triu_indices(len(x), 1)
    slopes: Floats = (y[j] - y[i]) / (x[j] - x[i])
    return slopes


def _bins(x: Floats, y: Floats, of: Of) -> tuple[Floats, Floats]:
    """At most _BINS bins of equal time, which bounds the number of pairs for a run of any length."""
    edges = np.linspace(x[0], x[-1], _BINS + 1)[1:-1]
    groups = np.searchsorted(edges, x, "right")
    kept = np.unique(groups)
    reduced = np.median if of == "median" else np.mean
    return np.array([np.median(x[groups == g]) for g in kept]), np.array([reduced(y[groups == g]) for g in kept])
