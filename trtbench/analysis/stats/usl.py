"""The Universal Scalability Law: its fit to throughput by load, and intervals around contention, coherency and the peak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import sqrt

import numpy as np
import numpy.typing as npt

from trtbench.analysis.stats.estimate import t_975

LEAST_POINTS = 4
"""The least number of different sizes: one more than the law has unknowns, so that a bad fit is visible."""
_NOTHING = 1e-9  # rounding, not coherency


@dataclass(frozen=True, slots=True)
class ScalabilityLaw:
    """The Universal Scalability Law (Gunther, Guerrilla Capacity Planning, 2007), fitted to throughput by number of units: X(n) =
    unit_throughput n / (1 + contention (n - 1) + coherency n (n - 1)).

    A unit is an instance, a server or a user. `peak_units` = sqrt((1 - contention) / coherency), beyond which more units have a lower
    throughput; None if the law has no peak. `residual_ratio`: largest distance of a point from the law, relative to the point.
    """

    unit_throughput: float
    contention: float
    coherency: float
    peak_units: float | None
    residual_ratio: float

    def at(self, units: float) -> float:
        return _throughput(self.unit_throughput, self.contention, self.coherency, units)


def fit_law(points: Sequence[tuple[float, float]]) -> ScalabilityLaw | None:
    """Fit the law to (units, throughput) by least squares of the relative error of n / X, which is linear in the unknowns; contention,
    coherency >= 0.

    None with fewer than LEAST_POINTS different numbers of units, or with a throughput that is not positive.
    """
    if len({units for units, _ in points}) < LEAST_POINTS or any(throughput <= 0 for _, throughput in points):
        return None
    n, x = (np.array(column, float) for column in zip(*points, strict=True))
    share = x / n
    inverse, contended, coherent = _least_squares(np.column_stack([share, share * (n - 1), share * n * (n - 1)]))
    unit, contention, coherency = 1 / inverse, contended / inverse, coherent / inverse
    peak = sqrt((1 - contention) / coherency) if coherency > _NOTHING and contention < 1 else None
    residual = max(abs(_throughput(unit, contention, coherency, units) / throughput - 1) for units, throughput in points)
    return ScalabilityLaw(unit, contention, coherency, peak, residual)


def _throughput(unit: float, contention: float, coherency: float, units: float) -> float:
    return unit * units / (1 + contention * (units - 1) + coherency * units * (units - 1))


def _least_squares(rows: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """The w that minimises |rows w - 1| with its second and third element not negative: the best of the four ways to fix them at zero."""
    best, least = (1.0, 0.0, 0.0), np.inf
    for kept in product((True, False), repeat=2):
        columns = [0, *(i + 1 for i, keep in enumerate(kept) if keep)]
        found = np.linalg.lstsq(rows[:, columns], np.ones(len(rows)), rcond=None)[0]
        error = float(((rows[:, columns] @ found - 1) ** 2).sum())
        if (found[1:] >= 0).all() and found[0] > 0 and error < least:
            w = dict(zip(columns, found.tolist(), strict=True))
            best, least = (w[0], w.get(1, 0.0), w.get(2, 0.0)), error
    return best


_STEPS = 40  # of a bisection between two values
_USABLE_LEVELS = 5  # with 4, one degree of freedom is left, and an interval is narrow only by chance
_USABLE_FACTOR = 2.0
_MOST_EXTRAPOLATED = 4.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """A 95 % interval; `high` is None if there is no upper bound."""

    low: float
    high: float | None


@dataclass(frozen=True, slots=True)
class UserLaw:
    """The law of one deployment over its closed-loop levels, with intervals. `peak_users`: the load from which more users lower throughput.

    `most_users` is the highest level that was measured.
    """

    law: ScalabilityLaw
    contention: Bounds
    coherency: Bounds
    peak_users: Bounds | None
    levels: int
    most_users: float

    @property
    def is_usable(self) -> bool:
        """Whether the peak may be stated: from five levels, with an interval that spans at most a factor of 2, and within 4 times the
        highest level.
        """
        if self.peak_users is None or self.peak_users.high is None or self.law.peak_units is None:
            return False
        narrow = self.peak_users.high <= _USABLE_FACTOR * self.peak_users.low
        return narrow and self.levels >= _USABLE_LEVELS and self.law.peak_units <= _MOST_EXTRAPOLATED * self.most_users


def fit_user_law(points: Sequence[tuple[float, float]]) -> UserLaw | None:
    """The law of (users, throughput), with profile intervals; None where `fit_law` is None.

    An interval holds each value with which the best fit of the other two unknowns has a sum of squares of at most the least one times
    1 + t^2 / (points - 3), where t is Student's for points - 3 degrees of freedom (Bates and Watts, Nonlinear Regression Analysis, 1988,
    section 6.1). Noise of the throughputs is relative, independent, and of one size.
    """
    law = fit_law(points)
    if law is None:
        return None
    n, x = (np.array(column, float) for column in zip(*points, strict=True))
    share, contended, coherent = x / n, (n - 1) * x / n, (n - 1) * x
    freedom = len(points) - 3

    def with_contention(value: float) -> float:
        return _squares(share + value * contended, coherent)

    def with_coherency(value: float) -> float:
        return _squares(share + value * coherent, contended)

    def with_peak(value: float) -> float:
        """With coherency = (1 - contention) / peak^2."""
        return _squares(share + coherent / value**2, contended - coherent / value**2)

    least = with_contention(law.contention)
    most = least * (1 + t_975(freedom) ** 2 / freedom) + 1e-18
    peak = None
    if law.peak_units is not None:
        peak = _interval(with_peak, law.peak_units, most, floor=_NOTHING)
    return UserLaw(
        law=law,
        contention=_interval(with_contention, law.contention, most),
        coherency=_interval(with_coherency, law.coherency, most),
        peak_users=peak,
        levels=len(points),
        most_users=float(n.max()),
    )


def _squares(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """min over a and b >= 0 of |a first + b second - 1|^2, by the normal equations: a tenth of the time of a general solver."""
    ff, fs, ss = float(first @ first), float(first @ second), float(second @ second)
    f, s = float(first.sum()), float(second.sum())
    determinant = ff * ss - fs * fs
    b = max(0.0, (ff * s - fs * f) / determinant) if determinant > _NOTHING * ff * ss else 0.0
    left = (f - b * fs) / ff * first + b * second - 1
    return float(left @ left)


def _interval(squares: Callable[[float], float], best: float, most: float, floor: float = 0.0) -> Bounds:
    """The values on both sides of `best` up to which `squares` stays at or below `most`, not below `floor`."""
    below = [best / 2**i for i in range(1, 40) if best / 2**i > floor]
    above = [max(best, _NOTHING) * 2**i for i in range(1, 71)]
    low, high = _border(squares, best, [*below, floor], most), _border(squares, best, above, most)
    return Bounds(low, high if high < above[-1] else None)


def _border(squares: Callable[[float], float], inside: float, outward: Sequence[float], most: float) -> float:
    """Where `squares` first crosses `most` on the way from `inside` along `outward`; the last of these if it does not."""
    for outside in outward:
        if squares(outside) > most:
            for _ in range(_STEPS):
                middle = (inside + outside) / 2
                inside, outside = (middle, outside) if squares(middle) <= most else (inside, middle)
            return inside
        inside = outside
    return inside
