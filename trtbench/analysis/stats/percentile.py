"""Percentiles by nearest rank on raw values, the interval of each, and the number of samples that each needs (metrics.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trtbench.analysis.stats.binomial import bound_rank, interval_ranks
from trtbench.rundir.event_kinds import IF_KNOWN

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

    `intervals`: of a percentile with a value, the ends of its 95 % interval; of one without a value, (lower bound at 95 %, None). A
    percentile is missing if not even the smallest value bounds it: the P90 of one value, the P50 of four.

    `infinite`: the figures that are None because they are beyond every value, where some of the values are infinite; so is the lower
    bound of a percentile that is named here. None for a set without infinite values.
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
    intervals: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict, hash=False)
    infinite: tuple[str, ...] | None = field(default=None, metadata=IF_KNOWN)

    @classmethod
    def of(cls, values: Iterable[float], infinite: int = 0) -> Distribution:
        """The distribution of these values, and of this number of infinite ones."""
        return cls.of_sorted(np.sort(np.asarray(values if isinstance(values, np.ndarray) else list(values))), infinite)

    @classmethod
    def of_sorted(cls, ordered: Values, infinite: int = 0) -> Distribution:
        """The distribution of values [n] in ascending order, followed by this number of infinite ones."""
        n = len(ordered) + infinite
        if not n:
            return cls(0)
        intervals = {name: (_at(ordered, lower), _at(ordered, upper)) for name, (lower, upper) in _ranks(n)}
        ranks = {name: max(-(-q * n // 1000), 1) for name, q in PERMILLES.items() if n >= needed_samples(q)}
        figures: dict[str, Any] = {name: _at(ordered, rank) for name, rank in ranks.items()}
        figures |= {"min": _at(ordered, 1), "max": _at(ordered, n), "mean": None if infinite else _mean(ordered)}
        beyond = [name for name, value in figures.items() if value is None]
        beyond += [name for name, (lower, _) in intervals.items() if lower is None and name not in ranks]
        return cls(n, **figures, intervals=intervals, infinite=tuple(beyond) if infinite else None)


def _ranks(count: int) -> Iterator[tuple[str, tuple[int, int | None]]]:
    """The ranks that bound each percentile that has a bound."""
    for name, permille in PERMILLES.items():
        ranks = interval_ranks(count, permille) if count >= needed_samples(permille) else (bound_rank(count, permille), None)
        if ranks[0]:
            yield name, ranks


def _at(ordered: Values, rank: int | None) -> float | None:
    """The value of this rank, or None if it is infinite or there is none."""
    value: float | None = ordered[rank - 1].item() if rank is not None and rank <= len(ordered) else None
    return value


def _mean(ordered: Values) -> float:
    mean = float(ordered.mean())
    return round(mean) if ordered.dtype.kind in "iu" else mean


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
