"""Whether a series in the order of time kept its level: a test for a step and a test for a trend, on the means of blocks.

The step is that of the largest F ratio over all places (Hawkins 1977). Both F ratios are divided by the variance inflation of an
autoregressive process, whose correlation is that of the residuals of the better model (Lund et al. 2007), so that the slow waves of a
queue do not count as changes. The limits are those that M/M/1 queues at a utilisation of 0.8, closed loops and independent values pass in
95 % of simulations (tests/analysis/stats/test_steadiness.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trtbench.analysis.stats.batch_means import Floats, block_means, correlation, widening
from trtbench.analysis.stats.trends import fit_line

BLOCKS = 20
LEAST_VALUES = 2 * BLOCKS
LEAST_CHANGE_RATIO = 0.05
"""Smaller changes are left out: they may be real, but no conclusion depends on them."""
_STEP_LIMITS, _LINE_LIMITS = (24.0, 70.0), (12.0, 40.0)
"""F ratios of a change, in a series that is long for its own dependence and in one that is not."""
_LONG = 80.0
"""The least number of independent values in a long series."""
_LEAST_JUDGED, _LEAST_ROUNDS, _ROUNDS, _PARTS = 100, 3, 10, 5
_EDGE = 2
_WARM_UP = 0.3
"""A step in this first part of a series is the end of a warm-up."""


@dataclass(frozen=True, slots=True)
class Steadiness:
    """The change of a series. `kind`: steady, warm_up (a step early on), step or trend; unknown if the series is too short for its own
    dependence.

    `change_ratio`: the level after a step / before it - 1, or the growth by a trend from the first to the last value; `lower`, `upper`: its
    95 % interval. `at`: the place of a step as a share of the values. None for a steady or unknown series.
    """

    kind: Literal["steady", "warm_up", "step", "trend", "unknown"]
    change_ratio: float | None = None
    lower: float | None = None
    upper: float | None = None
    at: float | None = None

    @property
    def changed(self) -> bool:
        return self.kind not in ("steady", "unknown")


@dataclass(frozen=True, slots=True)
class _Fit:
    """A model of the block means. `ratio`: F ratio; `change`: in logarithms, with half the width of its interval. `place`: the first block
    after a step.
    """

    ratio: float
    change: float
    half_width: float
    place: int | None
    residuals: Floats


def steadiness(values: npt.NDArray[Any], alike: float = 1.0) -> Steadiness | None:
    """The steadiness of positive values [n] in the order of time; None with fewer than LEAST_VALUES. Logarithms are compared, so that a
    few large values do not decide.
    """
    if len(values) < max(LEAST_VALUES, _LEAST_ROUNDS * alike):
        return None
    logs = np.log(np.maximum(values, 1))
    means = block_means(logs, BLOCKS)
    if np.ptp(means) < 1e-9:
        return Steadiness("steady")
    step, line = _step(means), _line(means)
    long = _independent(logs, alike) >= _LONG
    better = step if (step.residuals**2).sum() < (line.residuals**2).sum() else line
    found = [fit for fit, limits in ((step, _STEP_LIMITS), (line, _LINE_LIMITS)) if fit.ratio > limits[0 if long else 1]]
    if not found:
        return Steadiness("steady" if long else "unknown")
    fit = better if any(one is better for one in found) else found[0]
    change = math.expm1(fit.change)
    if abs(change) < LEAST_CHANGE_RATIO:
        return Steadiness("steady")
    at = None if fit.place is None else fit.place / BLOCKS
    kind: Literal["trend", "warm_up", "step"] = "trend" if at is None else "warm_up" if at <= _WARM_UP else "step"
    return Steadiness(kind, change, math.expm1(fit.change - fit.half_width), math.expm1(fit.change + fit.half_width), at)


def _independent(logs: Floats, alike: float) -> float:
    """The number of independent values that are worth as much as these, by the correlation of neighbours within each of a few parts, from
    which a line is subtracted so that a change does not count as dependence.
    """
    length = len(logs) // _PARTS
    if len(logs) < _LEAST_JUDGED or len(logs) < _ROUNDS * alike:
        return 0.0
    parts = logs[: length * _PARTS].reshape(_PARTS, length)
    places = np.arange(length) - (length - 1) / 2
    apart = parts - parts.mean(1, keepdims=True)
    apart -= (apart @ places / (places @ places))[:, None] * places
    total = float((apart**2).sum())
    measured = float((apart[:, 1:] * apart[:, :-1]).sum()) / total if total > 0 else 0.0
    correlated = min(max((measured + 2 / length) / (1 - 4 / length), 0.0), 0.999)  # without the bias of subtracting a line
    return len(logs) / widening(correlated) ** 2


def _line(means: Floats) -> _Fit:
    places = np.arange(len(means), dtype=np.float64)
    line = fit_line(places.tolist(), means.tolist())
    residuals = means - line.intercept - line.slope * places
    wider, length = widening(_left(residuals)), len(means) - 1
    return _Fit(_ratio(means, residuals, 1) / wider**2, line.slope * length, line.half_width * length * wider, None, residuals)


def _step(means: Floats) -> _Fit:
    count = len(means)
    before = np.arange(_EDGE, count - _EDGE + 1)
    sums = np.cumsum(means - means.mean())[before - 1]
    place = int(before[np.argmax(sums**2 * (1 / before + 1 / (count - before)))])
    left, right = means[:place], means[place:]
    residuals = np.concatenate([left - left.mean(), right - right.mean()])
    wider = widening(_left(residuals))
    error = math.sqrt(float((residuals**2).sum()) / (count - 2) * (1 / place + 1 / (count - place)))
    return _Fit(_ratio(means, residuals, 2) / wider**2, float(right.mean() - left.mean()), 2.1 * error * wider, place, residuals)


def _ratio(means: Floats, residuals: Floats, parameters: int) -> float:
    """The variance that a model with this number of parameters explains over the variance that it leaves."""
    total, left = float(((means - means.mean()) ** 2).sum()), float((residuals**2).sum())
    return (total - left) / max(left / (len(means) - 1 - parameters), 1e-18)


def _left(residuals: Floats) -> float:
    """The correlation of neighbouring residuals, whose bias is twice that of the values, because a model was subtracted."""
    return min(correlation(residuals) + 1 / len(residuals), 0.95)
