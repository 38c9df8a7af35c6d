"""Arithmetic of the binomial distribution: ranks of order statistics that bound a quantile, and the interval of a ratio.

B is the number of successes in n trials of probability p. If p is the level of a quantile, B counts the values at or below it, so the
k-th smallest value is at or below the quantile if and only if B >= k (David and Nagaraja, Order Statistics, section 7.1).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
_TAIL = 0.025
_ONE_SIDED_TAIL = 0.05
_ROUNDING = 1e-12
"""Probabilities that differ by less are equal: P(B = 0) of one value at p = 0.95 is exactly 5 %."""
_DEVIATIONS, _AT_LEAST = 13.0, 40
_HALVINGS = 50


def cumulative(count: int, probability: float) -> tuple[int, Values]:
    """(First, P(B <= first), P(B <= first + 1), ...) over all outcomes of `count` trials with a probability above about 1e-30.

    The probabilities are ratios to that of the mode, divided by their sum, so that no factorial is needed: the cost is that of 26 standard
    deviations, and the error about 1e-13.
    """
    mode = min(int((count + 1) * probability), count)
    reach = int(_DEVIATIONS * (count * probability * (1 - probability)) ** 0.5) + _AT_LEAST
    first, last = max(mode - reach, 0), min(mode + reach, count)
    successes = np.arange(first, last, dtype=np.float64)
    steps = np.log((count - successes) / (successes + 1)) + np.log(probability / (1 - probability))
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    shares = np.exp(logs - logs.max())
    return first, np.cumsum(shares) / shares.sum()


@lru_cache(maxsize=4096)
def interval_ranks(count: int, permille: int) -> tuple[int, int | None]:
    """The ranks (1 is the smallest) of the values that bound a quantile from both sides, each with 97.5 % confidence. The lower one is 0 if
    no value is a lower bound, the upper one None if none is an upper bound.
    """
    first, chances = cumulative(count, permille / 1000)
    upper = first + int(np.searchsorted(chances, 1 - _TAIL - _ROUNDING)) + 1  # the smallest rank with P(B <= rank - 1) >= 97.5 %
    return _lower_rank(first, chances, _TAIL), upper if upper <= count else None


@lru_cache(maxsize=4096)
def bound_rank(count: int, permille: int) -> int:
    """The highest rank whose value is at or below a quantile with 95 % confidence; 0 if not even that of the smallest value is."""
    return _lower_rank(*cumulative(count, permille / 1000), _ONE_SIDED_TAIL)


def _lower_rank(first: int, chances: Values, tail: float) -> int:
    """The largest rank with P(B <= rank - 1) <= tail."""
    return first + int(np.searchsorted(chances, tail + _ROUNDING, side="right"))


@lru_cache(maxsize=4096)
def ratio_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a ratio by Clopper and Pearson (1934), whose coverage is at least 95 % for every ratio and number of trials. The
    trials must be independent, at least one of them.
    """
    lower = 0.0 if not successes else 1 - _upper_limit(trials - successes, trials)
    return lower, 1.0 if successes == trials else _upper_limit(successes, trials)


def _upper_limit(successes: int, trials: int) -> float:
    """The probability at which P(B <= successes) is 2.5 %, by bisection. `successes` < `trials`."""
    low, high = successes / trials, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _at_most(successes, trials, middle) > _TAIL else (low, middle)
    return high


def _at_most(successes: int, trials: int, probability: float) -> float:
    first, chances = cumulative(trials, probability)
    position = successes - first
    return 0.0 if position < 0 else float(chances[min(position, len(chances) - 1)])
