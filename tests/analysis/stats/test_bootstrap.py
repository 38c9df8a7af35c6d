"""The block bootstrap on series whose variance is known."""

from __future__ import annotations

import numpy as np
import pytest

from trtbench.analysis.stats.bootstrap import LEAST_UNITS, block_length, design_effect, of_percentile, of_ratio

COUNT = 4000


def series(dependence: float, seed: int, count: int = COUNT) -> np.ndarray:
    """An autoregressive series of variance 1."""
    from scipy.signal import lfilter  # a second, which only the process that runs this spends

    noise = np.random.default_rng(seed).normal(size=count + 500)
    return lfilter([(1 - dependence**2) ** 0.5], [1, -dependence], noise)[500:]


def test_batch_means_grow_with_the_dependence_and_independent_values_need_none() -> None:
    lengths = [np.median([block_length(series(dependence, seed)) for seed in range(5)]) for dependence in (0.0, 0.5, 0.9)]
    assert lengths[0] < 3 < lengths[1] < lengths[2] < COUNT / 10
    assert block_length(np.ones(100)) == 1


@pytest.mark.parametrize("dependence", [0.0, 0.5, 0.8])
def test_the_deviation_of_a_mean_is_the_known_one(dependence: float) -> None:
    """The variance of the mean of an AR(1) is (1 + d) / (1 - d) / n."""
    found = [of_ratio(10 + series(dependence, seed), np.ones(COUNT), np.random.default_rng(seed)) for seed in range(8)]
    known = ((1 + dependence) / (1 - dependence) / COUNT) ** 0.5
    assert np.mean([one.deviations.std() for one in found]) == pytest.approx(known, rel=0.2)


def test_a_rate_is_the_amount_over_the_time() -> None:
    random = np.random.default_rng(1)
    seconds = random.exponential(0.5, COUNT)
    found = of_ratio(np.full(COUNT, 3.0), seconds, random)
    assert found.value == pytest.approx(3 * COUNT / seconds.sum())
    assert found.deviations.std() / found.value == pytest.approx(COUNT**-0.5, rel=0.15)


@pytest.mark.parametrize(("permille", "density"), [(500, 0.3989), (990, 0.02665)])
def test_the_deviation_of_a_percentile_is_the_known_one(permille: int, density: float) -> None:
    """sqrt(q (1 - q) / n) / density, of independent normal values."""
    share = permille / 1000
    known = (share * (1 - share) / COUNT) ** 0.5 / density
    units = np.arange(COUNT)
    found = [of_percentile(series(0, seed), units, COUNT, permille, np.random.default_rng(seed)) for seed in range(10)]
    assert np.mean([one.deviations.std() for one in found]) == pytest.approx(known, rel=0.25)


def test_values_of_one_request_are_drawn_together() -> None:
    """Ten equal gaps of each request say no more than one."""
    values = np.random.default_rng(2).normal(size=400)
    alone = of_percentile(values, np.arange(400), 400, 500, np.random.default_rng(3))
    tenfold = of_percentile(np.repeat(values, 10), np.repeat(np.arange(400), 10), 400, 500, np.random.default_rng(3))
    assert tenfold.value == pytest.approx(alone.value, abs=0.02)
    assert tenfold.deviations.std() == pytest.approx(alone.deviations.std(), rel=0.1)


def test_few_requests_give_no_interval_and_equal_ones_no_width() -> None:
    few, random = np.ones(LEAST_UNITS - 1), np.random.default_rng(1)
    assert of_ratio(few, few, random) is None
    assert of_percentile(few, np.arange(len(few)), len(few), 500, random) is None
    assert not of_percentile(np.ones(100), np.arange(100), 100, 990, random).deviations.any()


def test_the_same_generator_gives_the_same_draws() -> None:
    values = series(0.5, 1, 300)
    one, other = (of_ratio(values, np.ones(300), np.random.default_rng(7)) for _ in range(2))
    assert (one.deviations == other.deviations).all()


def test_clustered_failures_count_less_than_scattered_ones() -> None:
    scattered, clustered = np.ones(2000), np.ones(2000)
    scattered[::100] = 0
    clustered[500:520] = 0
    assert design_effect(scattered) < 1.5 < 5 < design_effect(clustered)
    assert design_effect(np.ones(100)) == 1
