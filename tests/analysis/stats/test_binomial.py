"""Ranks and intervals from the binomial distribution, compared with scipy, and the values of small sets by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.analysis.stats.binomial import bound_rank, cumulative, interval_ranks, ratio_interval
from trtbench.analysis.stats.percentile import PERMILLES

permilles = st.sampled_from(sorted(PERMILLES.values()))
_NEAR = 1e-9


@given(st.integers(1, 10**8), st.floats(1e-6, 1 - 1e-6))
def test_probabilities_are_those_of_scipy(count: int, probability: float) -> None:
    from scipy import stats

    first, chances = cumulative(count, probability)
    places = np.unique(np.linspace(0, len(chances) - 1, 50).astype(int))
    assert chances[places] == pytest.approx(stats.binom.cdf(first + places, count, probability), abs=1e-8)


@given(st.integers(1, 20_000), permilles)
def test_an_interval_excludes_a_fortieth_on_each_side_and_is_the_shortest_that_does(count: int, permille: int) -> None:
    from scipy import stats

    found = stats.binom(count, permille / 1000)
    lower, upper = interval_ranks(count, permille)
    assert lower == 0 or found.cdf(lower - 1) <= 0.025 + _NEAR
    assert found.cdf(lower) > 0.025 - _NEAR
    if upper is None:
        assert found.cdf(count - 1) < 0.975 + _NEAR
    else:
        assert lower < upper <= count
        assert found.cdf(upper - 1) >= 0.975 - _NEAR and found.cdf(upper - 2) < 0.975 + _NEAR


@given(st.integers(1, 20_000), permilles)
def test_a_lower_bound_holds_with_95_percent_and_is_the_highest_that_does(count: int, permille: int) -> None:
    from scipy import stats

    found, rank = stats.binom(count, permille / 1000), bound_rank(count, permille)
    assert rank == 0 or found.sf(rank - 1) >= 0.95 - _NEAR
    assert found.sf(rank) < 0.95 + _NEAR


@pytest.mark.parametrize(
    ("count", "permille", "rank"),
    [
        (1, 990, 1),  # 0.99 of all values are at or below the P99, so any value is a bound with 99 %
        (1, 950, 1),  # exactly 95 %
        (1, 900, 0),
        (2, 900, 2 - 1),  # 1 - 0.1^2 = 99 % for the smaller one, 0.9^2 = 81 % for the larger one
        (4, 500, 0),  # 1 - 0.5^4 = 93.75 %
        (5, 500, 1),
        (5, 990, 5),  # 0.99^5 = 95.1 %
        (6, 990, 5),
        (40, 990, 38),
    ],
)
def test_bounds_of_few_values(count: int, permille: int, rank: int) -> None:
    assert bound_rank(count, permille) == rank


def test_the_least_counts_with_an_upper_bound() -> None:
    least = {permille: next(n for n in range(1, 5000) if interval_ranks(n, permille)[1]) for permille in PERMILLES.values()}
    assert least == {500: 6, 900: 36, 950: 72, 990: 368, 999: 3688}


@given(st.integers(1, 5000), st.data())
def test_the_interval_of_a_ratio_is_that_of_scipy(trials: int, data: st.DataObject) -> None:
    from scipy import stats

    successes = data.draw(st.integers(0, trials))
    expected = stats.binomtest(successes, trials).proportion_ci(method="exact")
    assert ratio_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)
