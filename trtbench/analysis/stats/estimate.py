"""A figure over repeats: its mean with a confidence interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import TypeVar

T = TypeVar("T")

_T_975: tuple[float, ...] = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_T_975 += (2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
"""Student's t, two-sided 95 %, for 1, 2, ... 30 degrees of freedom."""


def t_975(freedom: int) -> float:
    """The 97.5 % quantile of Student's t for at least 1 degree of freedom; above 30 the value for 30."""
    return _T_975[min(freedom, len(_T_975)) - 1]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over repeats. `half_width`: of the 95 % confidence interval around `mean`, in the unit of `mean`; None with one repeat."""

    mean: float
    half_width: float | None
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Estimate | None:
        """The estimate of these values, or None without values. From more than 31 values, the interval is up to 4 % too wide."""
        known = list(values)
        if not known:
            return None
        if len(known) == 1:
            return cls(known[0], None, 1)
        return cls(fmean(known), t_975(len(known) - 1) * stdev(known) / sqrt(len(known)), len(known))

    @classmethod
    def over(cls, items: Iterable[T], pick: Callable[[T], float | None]) -> Estimate | None:
        """The estimate over all items, or None if one of them lacks the figure, because a mean over some of them would look like a mean
        over all.
        """
        values = [pick(item) for item in items]
        known = [value for value in values if value is not None]
        return cls.of(known) if len(known) == len(values) else None
