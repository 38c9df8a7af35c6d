"""Percentiles by nearest rank on raw values, and the number of samples that each percentile needs (metrics.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

PERMILLES = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p99_9": 999}
"""Quantiles in whole thousandths, because 0.99 * n is inexact in binary floating point for some n."""

Values = npt.NDArray[Any]
_CURVE_POINTS = 101


def needed_samples(permille: int) -> int:
    """10 / (1 - q): about ten samples lie beyond the percentile."""
    return -(-10_000 // (1000 - permille))


def nearest_rank(ordered: Values, permille: int) -> float:
    """The ceil(q n)-th smallest of `ordered` [n], n >= 1, ascending. The result is always one of the values, never an interpolation."""
    rank = -(-permille * len(ordered) // 1000)
    value: float = ordered[max(rank, 1) - 1].item()
    return value


@dataclass(frozen=True, slots=True)
class Distribution:
    """The distribution of a set of raw values; the unit is in the name of the field that holds it.

    A percentile with fewer than `needed_samples` samples is None, and so is everything of an empty set. Integers stay integers, and their
    mean is an integer too.
    """

    count: int
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p99_9: float | None = None

    @classmethod
    def of(cls, values: Iterable[float]) -> Distribution:
        return cls.of_sorted(np.sort(np.asarray(values if isinstance(values, np.ndarray) else list(values))))

    @classmethod
    def of_sorted(cls, ordered: Values) -> Distribution:
        """The distribution of values [n] in ascending order."""
        n = len(ordered)
        if not n:
            return cls(0)
        mean = float(ordered.mean())
        percentiles = {name: nearest_rank(ordered, q) for name, q in PERMILLES.items() if n >= needed_samples(q)}
        whole = ordered.dtype.kind in "iu"
        return cls(n, round(mean) if whole else mean, ordered[0].item(), ordered[-1].item(), **percentiles)


def quantile_curve(values: Iterable[float]) -> tuple[float, ...]:
    """At most 101 of the sorted values, evenly spaced by rank with both ends included, which is enough to draw the distribution; ()
    without values.
    """
    return curve_of_sorted(np.sort(np.asarray(values if isinstance(values, np.ndarray) else list(values))))


def curve_of_sorted(ordered: Values) -> tuple[float, ...]:
    if not len(ordered):
        return ()
    ranks = np.unique(np.linspace(0, len(ordered) - 1, _CURVE_POINTS).round().astype(int))
    return tuple(ordered[ranks].tolist())
