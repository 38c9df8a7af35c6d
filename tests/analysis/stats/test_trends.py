"""Lines through points, the drift of a series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import S
from trtbench.analysis.stats.trends import drift, fit_line, theil_sen
from trtbench.rundir.samples import Series

points = st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=3, max_size=32).filter(
    lambda pairs: all(len(set(column)) > 1 for column in zip(*pairs, strict=True))
)


@given(points)
def test_the_line_is_that_of_linear_regression(pairs: list[tuple[int, int]]) -> None:
    from scipy import stats  # a second, which only the process that runs this spends

    x, y = zip(*pairs, strict=True)
    line, expected = fit_line(x, y), stats.linregress(x, y)
    assert line.slope == pytest.approx(expected.slope, rel=1e-6, abs=1e-6)
    assert line.intercept == pytest.approx(expected.intercept, rel=1e-6, abs=1e-5)
    assert line.half_width == pytest.approx(stats.t.ppf(0.975, len(x) - 2) * expected.stderr, rel=3e-4, abs=1e-4)
    assert line.explained_ratio == pytest.approx(expected.rvalue**2, abs=1e-6)


def test_where_y_does_not_vary_nothing_is_explained() -> None:
    line = fit_line([0, 1, 2], [0, 0, 0])
    assert (line.slope, line.half_width, line.explained_ratio) == (0, 0, None)


def series(values: np.ndarray, step_s: float = 1.0) -> Series:
    return (np.arange(len(values)) * step_s * S).astype(np.int64), values.astype(np.float64)


def test_a_leak_is_measured_in_spite_of_outliers() -> None:
    rng = np.random.default_rng(1)
    values = 1000 + np.arange(3600) * 0.05 + rng.normal(0, 1, 3600)
    values[rng.integers(0, 3600, 500)] += 10_000
    found = drift(series(values), 0, 3600 * S)
    assert found is not None
    assert found.slope_per_hour == pytest.approx(180, rel=0.05)
    assert found.late_slope_per_hour == pytest.approx(180, rel=0.1)
    assert found.growth_ratio == pytest.approx(0.18, rel=0.05)


def test_a_warm_up_has_a_slope_but_no_late_one() -> None:
    values = 1000 + 200 * (1 - np.exp(-np.arange(3600) / 300))
    found = drift(series(values), 0, 3600 * S)
    assert found is not None and found.late_slope_per_hour < 5


@pytest.mark.parametrize(("samples", "step_s"), [(599, 1.0), (99, 60.0), (0, 1.0)])
def test_nothing_is_said_of_a_short_or_thin_window(samples: int, step_s: float) -> None:
    assert drift(series(np.ones(samples), step_s), 0, 10**18) is None


@given(st.floats(-100, 100), st.floats(-1e6, 1e6), st.integers(2, 50))
def test_theil_sen_is_exact_on_a_line(slope: float, offset: float, count: int) -> None:
    x = np.arange(count, dtype=np.float64)
    assert theil_sen(x, slope * x + offset) == pytest.approx(slope, abs=1e-6)


@given(st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-(10**6), 10**6)), min_size=2, max_size=40, unique_by=lambda pair: pair[0]))
def test_theil_sen_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    from scipy import stats

    x, y = np.array(pairs, np.float64).T
    assert theil_sen(x, y) == pytest.approx(float(stats.theilslopes(y, x).slope), rel=1e-9, abs=1e-9)
