"""Intervals of a value or a difference at any level, and how much more data would narrow them enough for a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean, stdev
from typing import Protocol

import numpy as np

from trtbench.analysis.stats.bootstrap import Bootstrap
from trtbench.analysis.stats.student import t_quantile

SIDE = 0.025
"""The probability on each side outside a 95 % interval."""
_MOST_FACTOR = 1e6


class Interval(Protocol):
    @property
    def value(self) -> float: ...

    def bounds(self, side: float = SIDE, factor: float = 1.0) -> tuple[float, float]:
        """The lower and upper bound, each wrong with the probability `side`, as they would be with `factor` times the data."""
        ...


@dataclass(frozen=True, slots=True)
class TInterval:
    """`low` and `high`: the 95 % interval. Other levels scale each half by the ratio of Student's t, more data by 1 / sqrt(factor)."""

    value: float
    low: float
    high: float
    freedom: int

    def bounds(self, side: float = SIDE, factor: float = 1.0) -> tuple[float, float]:
        scale = t_quantile(1 - side, self.freedom) / t_quantile(1 - SIDE, self.freedom) / sqrt(factor)
        return self.value - (self.value - self.low) * scale, self.value + (self.high - self.value) * scale


@dataclass(frozen=True, slots=True)
class ShareInterval:
    """A share of independent outcomes: Wilson's score interval (1927). `count`: the outcomes, fewer where neighbours are alike."""

    value: float
    count: float

    def bounds(self, side: float = SIDE, factor: float = 1.0) -> tuple[float, float]:
        z, n, p = NormalDist().inv_cdf(1 - side), self.count * factor, self.value
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


def pooled(shares: Sequence[ShareInterval]) -> ShareInterval:
    """The share of all outcomes of several rounds."""
    count = sum(one.count for one in shares)
    return ShareInterval(sum(one.value * one.count for one in shares) / count, count)


@dataclass(frozen=True, slots=True)
class ShareDifference:
    """The difference of two shares, from their Wilson intervals (Newcombe 1998, method 10)."""

    base: ShareInterval
    candidate: ShareInterval

    @property
    def value(self) -> float:
        return self.candidate.value - self.base.value

    def bounds(self, side: float = SIDE, factor: float = 1.0) -> tuple[float, float]:
        (low_b, high_b), (low_c, high_c) = self.base.bounds(side, factor), self.candidate.bounds(side, factor)
        b, c = self.base.value, self.candidate.value
        return self.value - sqrt((c - low_c) ** 2 + (high_b - b) ** 2), self.value + sqrt((high_c - c) ** 2 + (b - low_b) ** 2)


def of_value(one: Bootstrap) -> TInterval:
    low, high = one.value + np.quantile(one.deviations, [SIDE, 1 - SIDE])
    return TInterval(one.value, float(low), float(high), one.blocks - 1)


def of_difference(base: Bootstrap, candidate: Bootstrap) -> TInterval:
    """candidate - base, in the unit of the metric."""
    value = candidate.value - base.value
    low, high = value + np.quantile(candidate.deviations - base.deviations, [SIDE, 1 - SIDE])
    return TInterval(value, float(low), float(high), min(base.blocks, candidate.blocks) - 1)


def of_change(base: Bootstrap, candidate: Bootstrap) -> TInterval | None:
    """candidate / base - 1; None where a value is not above zero."""
    if base.value <= 0 or candidate.value <= 0:
        return None
    value = candidate.value / base.value - 1
    least = 1e-9
    ratios = np.maximum(1 + candidate.deviations / candidate.value, least) / np.maximum(1 + base.deviations / base.value, least)
    low, high = (1 + value) * np.quantile(ratios, [SIDE, 1 - SIDE]) - 1
    return TInterval(value, min(float(low), value), max(float(high), value), min(base.blocks, candidate.blocks) - 1)


def of_rounds(values: Sequence[float]) -> TInterval | None:
    """The mean of a value, or of a difference, of at least two rounds, by Student's t."""
    if len(values) < 2:
        return None
    mean, freedom = fmean(values), len(values) - 1
    half = t_quantile(1 - SIDE, freedom) * stdev(values) / sqrt(len(values))
    return TInterval(mean, mean - half, mean + half, freedom)


def factor_to_decide(interval: Interval, limit: float, side: float) -> float | None:
    """How many times the data it would take until the interval no longer contains `limit`, if the value stays; None for over a million
    times, and where the value is the limit.
    """

    def decides(factor: float) -> bool:
        low, high = interval.bounds(side, factor)
        return not low <= limit < high

    if not decides(_MOST_FACTOR):
        return None
    least, most = 1.0, _MOST_FACTOR
    while most / least > 1.001:
        middle = sqrt(least * most)
        least, most = (least, middle) if decides(middle) else (middle, most)
    return most
