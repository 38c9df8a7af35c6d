from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trtbench.plan.draws.drawn_lengths import draw_lengths
from trtbench.scenario.workload.lengths import Empirical, Lognormal, Normal, Range

DRAWN = 20_000
CRITICAL = 1.95 / math.sqrt(DRAWN)  # Kolmogorov-Smirnov at 0.1 %; of a law with steps the true level is lower still

Law = Range | Normal | Lognormal | Empirical

LAWS: list[Law] = [
    Range(min=7, max=7),
    Range(min=16, max=300),
    Normal(mean=200, stddev=50, max=400),
    Normal(mean=20, stddev=50, min=10, max=400),  # most of it cut off
    Normal(mean=2, stddev=0.5, max=3),
    Lognormal(median=300, sigma=0.9, max=8000),
    Lognormal(median=10, sigma=1.5, min=8, max=60),
    Empirical(values=(900, 10, 30), weights=(1, 0, 3)),
]


def share_up_to(law: Law, length: int) -> float:
    """The law's distribution function, each from its definition."""
    if isinstance(law, Range):
        return (length - law.min + 1) / (law.max - law.min + 1)
    if isinstance(law, Empirical):
        return sum(share for value, share in zip(law.values, law.shares, strict=True) if value <= length)
    if isinstance(law, Normal):
        low, here, high = ((edge - law.mean) / law.stddev for edge in (law.min - 0.5, length + 0.5, law.max + 0.5))
    else:
        low, here, high = (math.log(edge / law.median) / law.sigma for edge in (law.min - 0.5, length + 0.5, law.max + 0.5))
    below = [math.erf(z / math.sqrt(2)) for z in (low, here, high)]
    return (below[1] - below[0]) / (below[2] - below[0])


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_draws_follow_their_law(law: Law) -> None:
    drawn = np.array(draw_lengths(law, DRAWN, np.random.default_rng(5)))
    assert drawn.min() >= law.min and drawn.max() <= law.max
    distance = max(abs((drawn <= length).mean() - share_up_to(law, length)) for length in set(drawn.tolist()))
    assert distance < CRITICAL
    assert drawn.mean() == pytest.approx(law.expected, abs=0.5 + 4 * drawn.std() / math.sqrt(DRAWN))


@pytest.mark.parametrize("law", LAWS, ids=repr)
@given(seed=st.integers(0, 2**32), few=st.integers(0, 50), more=st.integers(0, 50))
@settings(max_examples=15)
def test_longer_draws_begin_like_shorter_ones(law: Law, seed: int, few: int, more: int) -> None:
    short, long = (draw_lengths(law, count, np.random.default_rng(seed)) for count in (few, few + more))
    assert long[:few] == short
    assert all(type(length) is int for length in long)


def test_a_weight_of_zero_is_never_drawn() -> None:
    assert set(Counter(draw_lengths(LAWS[-1], 5000, np.random.default_rng(1)))) == {900, 30}
