"""Percentiles by nearest rank on raw values, and the rule on when one may be shown (metrics.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

PERMILLES = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p99_9": 999}
"""Quantiles as whole thousandths: 0.99 * 1000 is not 990 in binary floating point for every count."""

Values = npt.NDArray[Any]
_CURVE_POINTS = 101


def needed_samples(permille: int) -> int:
    """10 / (1 - q): enough that about ten samples lie beyond the percentile."""
    return -(-10_000 // (1000 - permille))


def nearest_rank(ordered: Values, permille: int) -> float:
    """The ceil(q n)-th smallest of `ordered` [n], n >= 1, ascending; always one of the values, never between two."""
    rank = -(-permille * len(ordered) // 1000)
    value: float = ordered[max(rank, 1) - 1].item()
    return value


@dataclass(frozen=True, slots=True)
class Distribution:
    """A set of raw values in figures; the unit is in the name of the field that holds it.

    A percentile without `needed_samples` is None, as is everything of an empty set. Integers stay integers, the mean of integers too.
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
        """The distribution of values [n] that are in ascending order."""
        n = len(ordered)
        if not n:
            return cls(0)
        mean = float(ordered.mean())
        percentiles = {name: nearest_rank(ordered, q) for name, q in PERMILLES.items() if n >= needed_samples(q)}
        whole = ordered.dtype.kind in "iu"
        return cls(n, round(mean) if whole else mean, ordered[0].item(), ordered[-1].item(), **percentiles)


def quantile_curve(values: Iterable[float]) -> tuple[float, ...]:
    """At most 101 of the sorted values, evenly by rank, both ends kept: enough to draw the distribution; () for none."""
    return curve_of_sorted(np.sort(np.asarray(values if isinstance(values, np.ndarray) else list(values))))


def curve_of_sorted(ordered: Values) -> tuple[float, ...]:
    if not len(ordered):
        return ()
    ranks = np.unique(np.linspace(0, len(ordered) - 1, _CURVE_POINTS).round().astype(int))
    return tuple(ordered[ranks].tolist())
