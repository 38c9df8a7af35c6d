"""Lines through points, the drift of a series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import S
from trtbench.analysis.stats.trends import dependence, drift, fit_line, slope_interval, theil_sen
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


@given(st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-30, 30)), min_size=4, max_size=40, unique_by=lambda pair: pair[0]))
def test_the_interval_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    from scipy import stats

    x, y = np.array(pairs, np.float64).T
    expected = stats.theilslopes(y, x)
    assert slope_interval(x, y) == pytest.approx((float(expected.low_slope), float(expected.high_slope)), rel=1e-9, abs=1e-9)


def noisy(seed: int, leak_per_hour: float, alike: float = 0.0, hours: int = 2) -> Series:
    """Readings each 5 s of 1000 with noise of 5, of which each keeps the share `alike` of the one before."""
    draw, readings = np.random.default_rng(seed), hours * 720
    noise = np.zeros(readings)
    for i in range(1, readings):
        noise[i] = alike * noise[i - 1] + draw.normal(0, 5 * (1 - alike**2) ** 0.5)
    return series(1000 + leak_per_hour * np.arange(readings) / 720 + noise, 5.0)


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_the_interval_holds_the_planted_slope(alike: float) -> None:
    """100 draws: at least 95 % less three standard errors of such a share, also where neighbours are alike."""
    found = [drift(noisy(seed, 10, alike), 0, 10**18) for seed in range(100)]
    assert sum(one is not None and one.low_per_hour <= 10 <= one.high_per_hour for one in found) >= 88  # type: ignore[operator]


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_what_does_not_grow_is_rarely_said_to(alike: float) -> None:
    found = [drift(noisy(seed, 0, alike), 0, 10**18) for seed in range(100)]
    assert sum(one is not None and one.grows for one in found) <= 8


def test_a_leak_above_what_could_be_hidden_is_always_seen() -> None:
    flat = drift(noisy(1, 0), 0, 10**18)
    assert flat and flat.hidden_per_hour and 0 < flat.hidden_per_hour < 3
    for seed in range(20):
        leaking = drift(noisy(seed, 3 * flat.hidden_per_hour), 0, 10**18)
        assert leaking and leaking.grows


def test_a_longer_run_hides_less() -> None:
    short, long = (drift(noisy(1, 0, hours=hours), 0, 10**18) for hours in (1, 8))
    assert short and long and short.hidden_per_hour and long.hidden_per_hour
    assert long.hidden_per_hour < short.hidden_per_hour / 4


def test_independent_noise_inflates_nothing() -> None:
    draw = np.random.default_rng(3)
    x = np.arange(120.0)
    assert dependence(x, draw.normal(0, 1, 120), 0.0) < 1.5
    assert dependence(x, np.zeros(120), 0.0) == 1
