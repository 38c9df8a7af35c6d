from __future__ import annotations

import math
from fractions import Fraction
from random import Random

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


def test_a_percentile_without_a_value_has_a_lower_bound() -> None:
    values = Distribution.of(range(1, 41))
    assert (values.p99, values.intervals["p99"]) == (None, (38, None))
    one = Distribution.of([7])
    assert one.intervals == {"p95": (7, None), "p99": (7, None), "p99_9": (7, None)}, "one value bounds neither the P50 nor the P90"


@given(st.integers(1, 3000), st.randoms(use_true_random=False))
def test_intervals_enclose_the_percentile_and_integers_stay_integers(count: int, random: Random) -> None:
    values = Distribution.of([random.randrange(10**12) for _ in range(count)])
    for name, (lower, upper) in values.intervals.items():
        percentile = getattr(values, name)
        assert isinstance(lower, int) and (upper is None) == (percentile is None)
        assert upper is None or lower <= percentile <= upper
    assert {"p95", "p99", "p99_9"} <= set(values.intervals)


def test_the_interval_of_p99_covers_it_in_95_percent_of_samples() -> None:
    rng = np.random.default_rng(11)
    samples = np.sort(rng.exponential(size=(2000, 1500)), axis=1)
    ends = [Distribution.of_sorted(one).intervals["p99"] for one in samples]
    covered = [lower <= np.log(100) <= upper for lower, upper in ends if lower is not None and upper is not None]
    assert len(covered) == 2000 and 0.94 <= np.mean(covered) <= 0.99
    few = np.sort(rng.exponential(size=(2000, 40)), axis=1)
    bounds = [bound for one in few if (bound := Distribution.of_sorted(one).intervals["p99"][0]) is not None]
    assert len(bounds) == 2000 and 0.94 <= np.mean(np.array(bounds) <= np.log(100)) <= 1


def test_infinite_values_are_beyond_all_others() -> None:
    values = Distribution.of(range(1, 991), 10)
    assert (values.count, values.p99, values.max, values.mean, values.infinite) == (1000, 990, None, None, ("max", "mean", "p99_9"))
    assert values.intervals["p99"] == (983, None)
    lost = Distribution.of(range(1, 990), 11)
    assert (lost.p99, lost.p95) == (None, 950) and set(lost.infinite or ()) == {"p99", "max", "mean", "p99_9"}
    few = Distribution.of(range(1, 22), 3)
    assert "p99" in (few.infinite or ()), "three failures of 24 show with 95 % confidence that over 1 % fail"
    assert Distribution.of([1, 2]).infinite is None


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
