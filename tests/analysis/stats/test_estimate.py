"""Confidence intervals over repeats, against SciPy."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.analysis.stats.estimate import Estimate, t_975

figures = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=31)


def student_975(freedom: int) -> float:
    from scipy import stats  # a second, which only the process that runs this spends

    return float(stats.t.ppf(0.975, freedom))


def test_the_table_holds_students_quantiles() -> None:
    for freedom in range(1, 31):
        assert t_975(freedom) == pytest.approx(student_975(freedom), abs=5.1e-4), freedom


@given(st.integers(31, 10_000))
def test_above_the_table_the_interval_is_at_most_5_percent_too_wide(freedom: int) -> None:
    assert 1 <= t_975(freedom) / student_975(freedom) < 1.05


@given(figures)
def test_the_interval_is_students(values: list[float]) -> None:
    found = Estimate.of(values)
    error = statistics.stdev(values) / math.sqrt(len(values))
    assert found is not None and found.half_width is not None and found.count == len(values)
    assert found.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-6)
    assert found.half_width == pytest.approx(student_975(len(values) - 1) * error, rel=3e-4, abs=1e-6)


def test_one_repeat_has_no_interval_and_none_has_no_estimate() -> None:
    assert Estimate.of([3.0]) == Estimate(3.0, None, 1)
    assert Estimate.of([]) is None


def test_a_figure_that_one_repeat_lacks_has_no_mean() -> None:
    assert Estimate.over([1.0, None], lambda value: value) is None
    assert Estimate.over([1.0, 2.0], lambda value: value) == Estimate.of([1.0, 2.0])
