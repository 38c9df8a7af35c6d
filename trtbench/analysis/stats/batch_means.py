"""Means of consecutive blocks of a series, and the interval of the mean that follows from them (batch means).

Neighbouring latencies are alike, so the standard error of independent values would be too small. Means of blocks are nearly independent if
the blocks are much longer than the dependence (Law, Simulation Modeling and Analysis, section 9.5.3); what dependence is left is estimated
from the blocks themselves and widens the interval (as an autoregressive process of order 1).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from trtbench.analysis.stats.estimate import t_975

Floats = npt.NDArray[np.float64]
BLOCKS = 10
"""Few enough that each is long, enough for a Student's t that is not much wider than a normal distribution (Schmeiser 1982)."""
LEAST_VALUES = 100
_MOST_CORRELATION = 0.5
"""The correlation of neighbouring blocks above which the series is too short for its own dependence, and no interval is given."""


def block_means(values: npt.NDArray[Any], count: int) -> Floats:
    """[count] the means of consecutive blocks of at least `count` values, whose lengths differ by at most one."""
    edges = np.linspace(0, len(values), count + 1).astype(np.int64)
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    means: Floats = np.diff(sums[edges]) / np.diff(edges)
    return means


def correlation(means: Floats) -> float:
    """The correlation of neighbouring blocks, from 0, corrected for the bias of about -1 / n that comes from subtracting their mean."""
    apart = means - means.mean()
    total = float((apart * apart).sum())
    return max(float((apart[1:] * apart[:-1]).sum()) / total + 1 / len(means), 0.0) if total > 0 else 0.0


def widening(correlated: float) -> float:
    """The factor by which this correlation of neighbouring blocks widens the interval of the mean."""
    return math.sqrt((1 + correlated) / (1 - correlated))


def half_width(means: Floats) -> float | None:
    """Half the width of the 95 % interval of the mean of a series, from the means of its blocks [n], n >= 2; None if the blocks are too
    alike their neighbours.
    """
    correlated = correlation(means)
    if correlated > _MOST_CORRELATION:
        return None
    return t_975(len(means) - 1) * float(means.std(ddof=1)) / math.sqrt(len(means)) * widening(correlated)


def mean_half_width(in_order: npt.NDArray[Any]) -> float | None:
    """`half_width` of the mean of values in the order of time; None with fewer than LEAST_VALUES."""
    return half_width(block_means(in_order, BLOCKS)) if len(in_order) >= LEAST_VALUES else None
