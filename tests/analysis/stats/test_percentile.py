from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.analysis.stats.percentile import PERMILLES, Distribution, nearest_rank, needed_samples, quantile_curve


@pytest.mark.parametrize(("permille", "needed"), [(500, 20), (900, 100), (950, 200), (990, 1000), (999, 10_000)])
def test_samples_that_a_percentile_needs(permille: int, needed: int) -> None:
    assert needed_samples(permille) == needed


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.sampled_from(sorted(PERMILLES.values())))
def test_nearest_rank_is_the_smallest_value_that_enough_of_the_values_do_not_exceed(values: list[int], permille: int) -> None:
    found = nearest_rank(np.sort(np.array(values)), permille)
    share = Fraction(permille, 1000)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


@pytest.mark.parametrize(("count", "rank"), [(1000, 990), (1001, 991), (100, 99), (101, 100)])
def test_p99_of_counting_numbers(count: int, rank: int) -> None:
    assert nearest_rank(np.arange(1, count + 1), 990) == rank == math.ceil(0.99 * count - 1e-9)


def test_percentiles_without_enough_samples_are_withheld() -> None:
    values = Distribution.of(range(1, 200))
    assert (values.count, values.p50, values.p90, values.p95, values.p99) == (199, 100, 180, None, None)
    assert (values.min, values.mean, values.max) == (1, 100, 199)
    assert Distribution.of(range(1, 10_001)).p99_9 == 9990


def test_nothing_of_nothing() -> None:
    assert Distribution.of([]) == Distribution(0)
    assert quantile_curve([]) == ()


def test_whole_numbers_stay_whole() -> None:
    values = Distribution.of([1, 2, 2])
    assert (values.mean, type(values.mean), type(values.max)) == (2, int, int)
    assert isinstance(Distribution.of([1.0, 2.0]).mean, float)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=500))
def test_curve_keeps_both_ends_and_order(values: list[int]) -> None:
    curve = quantile_curve(values)
    assert (curve[0], curve[-1]) == (min(values), max(values))
    assert list(curve) == sorted(curve)
    assert len(curve) == min(len(values), 101)
