"""The Universal Scalability Law (Gunther, Guerrilla Capacity Planning, 2007), fitted to throughput by number of units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import sqrt

import numpy as np
import numpy.typing as npt

LEAST_POINTS = 4
"""Different numbers of units: one more than the law has unknowns, so that the fit can be seen to fail."""
_NOTHING = 1e-9  # rounding, not coherency


@dataclass(frozen=True, slots=True)
class ScalabilityLaw:
    """X(n) = unit_throughput n / (1 + contention (n - 1) + coherency n (n - 1)).

    `peak_units` = sqrt((1 - contention) / coherency), past which more units give less; None where the law has no peak.
    `residual_ratio`: largest distance of a point from the law, relative to the point.
    """

    unit_throughput: float
    contention: float
    coherency: float
    peak_units: float | None
    residual_ratio: float

    def at(self, units: float) -> float:
        return _throughput(self.unit_throughput, self.contention, self.coherency, units)


def fit_law(points: Sequence[tuple[float, float]]) -> ScalabilityLaw | None:
    """To (units, throughput), least squares of the relative error of n / X, which is linear in the unknowns; contention, coherency >= 0.

    None with fewer than LEAST_POINTS different numbers of units, or a throughput that is not positive.
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
    """w that minimises |rows w - 1|, the second and third of it not negative: the best of the four ways to hold them at zero."""
    best, least = (1.0, 0.0, 0.0), np.inf
    for kept in product((True, False), repeat=2):
        columns = [0, *(i + 1 for i, keep in enumerate(kept) if keep)]
        found = np.linalg.lstsq(rows[:, columns], np.ones(len(rows)), rcond=None)[0]
        error = float(((rows[:, columns] @ found - 1) ** 2).sum())
        if (found[1:] >= 0).all() and found[0] > 0 and error < least:
            w = dict(zip(columns, found.tolist(), strict=True))
            best, least = (w[0], w.get(1, 0.0), w.get(2, 0.0)), error
    return best
