"""Intervals at several levels, compared with SciPy, and the data that would decide."""

from __future__ import annotations

import numpy as np
import pytest

from trtbench.analysis.stats.bootstrap import Bootstrap
from trtbench.compare.interval import (
    ShareDifference,
    ShareInterval,
    TInterval,
    factor_to_decide,
    of_change,
    of_difference,
    of_rounds,
    of_value,
)


def normal(value: float, deviation: float, seed: int) -> Bootstrap:
    return Bootstrap(value, np.random.default_rng(seed).normal(0, deviation, 2000), 400)


def test_deviations_of_both_sides_add_up() -> None:
    found = of_difference(normal(100, 3, 1), normal(110, 4, 2))
    low, high = found.bounds()
    assert found.value == 10
    assert (high - low) / 2 == pytest.approx(1.96 * 5, rel=0.06)
    assert of_value(normal(100, 3, 1)).bounds()[1] == pytest.approx(100 + 1.96 * 3, rel=0.02)


def test_a_change_is_a_ratio_of_values() -> None:
    found = of_change(normal(100, 1, 1), normal(110, 1, 2))
    assert found.value == pytest.approx(0.1)
    assert np.diff(found.bounds())[0] / 2 == pytest.approx(1.96 * np.hypot(1 / 100 * 1.1, 1 / 100), rel=0.06)
    assert of_change(normal(0, 1, 1), normal(1, 1, 2)) is None


def test_other_levels_and_more_data_scale_each_half() -> None:
    from scipy import stats  # a second, which only the process that runs this spends

    interval = TInterval(10, 8, 13, 20)
    assert interval.bounds() == (8, 13)
    low, high = interval.bounds(0.001)
    scale = stats.t.ppf(0.999, 20) / stats.t.ppf(0.975, 20)
    assert (10 - low, high - 10) == pytest.approx((2 * scale, 3 * scale), rel=1e-4)
    assert interval.bounds(factor=4) == (9, 11.5)


@pytest.mark.parametrize(("value", "count"), [(0.0, 1000), (0.01, 300), (0.5, 40), (1.0, 25)])
def test_a_share_has_the_interval_of_scipy(value: float, count: int) -> None:
    from scipy import stats  # a second, which only the process that runs this spends

    known = stats.binomtest(round(value * count), count).proportion_ci(0.95, "wilson")
    assert ShareInterval(value, count).bounds() == pytest.approx((known.low, known.high), abs=1e-12)


def test_the_difference_of_shares_is_that_of_newcombe() -> None:
    """Newcombe 1998, table II, row (a), method 10: 56/70 and 48/80."""
    low, high = ShareDifference(ShareInterval(48 / 80, 80), ShareInterval(56 / 70, 70)).bounds()
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_rounds_have_the_interval_of_student() -> None:
    from scipy import stats  # a second, which only the process that runs this spends

    values = [0.01, 0.03, 0.02, 0.05]
    known = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert of_rounds(values).bounds() == pytest.approx(known, rel=1e-4)
    assert of_rounds([0.1]) is None


def test_the_data_that_would_decide_grow_with_the_square() -> None:
    assert factor_to_decide(TInterval(10, 6, 14, 100), 8, 0.025) == pytest.approx(4, rel=0.01)
    assert factor_to_decide(TInterval(10, 6, 14, 100), 10, 0.025) is None
    assert factor_to_decide(ShareInterval(0, 1000), 0.001, 0.025) == pytest.approx(3.84, rel=0.01)
