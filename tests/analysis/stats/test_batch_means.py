"""Intervals of means of dependent series hold the true mean in about 95 of 100 simulations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.queues import autoregressive, mm1_times
from trtbench.analysis.stats.batch_means import block_means, correlation, mean_half_width, widening

Floats = npt.NDArray[np.float64]


def covered(draw: Callable[[np.random.Generator], Floats], mean: float) -> tuple[float, float]:
    """(Share of intervals that hold the true mean, share of series without an interval) of 400 series."""
    random = np.random.default_rng(20)
    found = [(series.mean(), mean_half_width(series)) for series in (draw(random) for _ in range(400))]
    held = [abs(centre - mean) <= width for centre, width in found if width is not None]
    return float(np.mean(held)), 1 - len(held) / len(found)


@pytest.mark.parametrize(
    ("count", "persistence"),
    [(100, 0.0), (200, 0.5), (1000, 0.9)],
)
def test_the_mean_of_an_autoregressive_series_is_covered(count: int, persistence: float) -> None:
    held, without = covered(lambda random: autoregressive(count, persistence, random), 0.0)
    assert 0.9 <= held <= 0.99 and without < 0.1


@pytest.mark.parametrize(("count", "utilisation"), [(1000, 0.5), (5000, 0.8)])
def test_the_mean_time_in_a_queue_is_covered(count: int, utilisation: float) -> None:
    held, without = covered(lambda random: mm1_times(count, utilisation, random), 1 / (1 - utilisation))
    assert 0.9 <= held <= 0.99 and without < 0.1


def test_independent_standard_errors_would_not_cover_it() -> None:
    random = np.random.default_rng(20)
    every = [mm1_times(5000, 0.8, random) for _ in range(200)]
    assert np.mean([abs(one.mean() - 5) <= 1.96 * one.std() / len(one) ** 0.5 for one in every]) < 0.4


def test_no_interval_where_there_is_too_little() -> None:
    assert mean_half_width(np.arange(99.0)) is None, "fewer than 100 values"
    assert mean_half_width(np.arange(1000.0)) is None, "each block is like its neighbours"
    assert mean_half_width(np.ones(100)) == 0.0


def test_batch_means_share_the_values_evenly() -> None:
    assert block_means(np.arange(25), 10).tolist() == [0.5, 3, 5.5, 8, 10.5, 13, 15.5, 18, 20.5, 23]
    assert correlation(np.ones(10)) == 0.0 and widening(0.0) == 1.0 and widening(0.6) == pytest.approx(2.0)
