from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.load.arrivals import constant_offsets, due_offsets, gamma_offsets

rates = st.floats(0.01, 5_000)
counts = st.integers(1, 500)
seeds = st.integers(0, 2**32)


@given(rates, counts)
def test_constant_arrivals_never_drift(rate: float, requests: int) -> None:
    offsets = constant_offsets(rate, requests, None)
    assert offsets.dtype == np.int64
    for index in (0, requests // 2, requests - 1):
        assert abs(offsets[index] - index * 1e9 / rate) <= 0.5 + 1e-6 * index


@given(st.integers(1, 200), st.integers(1, 50))
def test_a_constant_rate_fills_its_duration_exactly(rate: int, duration_s: int) -> None:
    assert len(constant_offsets(rate, None, duration_s)) == rate * duration_s


@given(rates, counts, seeds)
def test_poisson_arrivals_are_in_order_and_as_many_as_asked(rate: float, requests: int, seed: int) -> None:
    offsets = gamma_offsets(rate, 1, requests, None, np.random.default_rng(seed))
    assert len(offsets) == requests and offsets.dtype == np.int64
    assert (np.diff(offsets) >= 0).all() and offsets[0] >= 0


@given(st.floats(0.1, 500), st.floats(0.1, 20), seeds)
def test_more_time_or_more_requests_keep_the_arrivals_there_were(rate: float, duration_s: float, seed: int) -> None:
    by_time = gamma_offsets(rate, 1, None, duration_s, np.random.default_rng(seed))
    longer = gamma_offsets(rate, 1, None, duration_s * 2, np.random.default_rng(seed))
    counted = gamma_offsets(rate, 1, len(by_time) + 1, None, np.random.default_rng(seed))
    assert (by_time < duration_s * 1e9).all()
    # A cumulative sum over a longer array may round the last bit otherwise.
    assert np.abs(longer[: len(by_time)] - by_time).max(initial=0) <= 1
    assert np.abs(counted[:-1] - by_time).max(initial=0) <= 1
    assert counted[-1] >= round(duration_s * 1e9) - 1


@given(st.sampled_from(["constant", "poisson"]), seeds)
def test_the_first_of_both_bounds_ends_a_stage(mode: str, seed: int) -> None:
    def count(requests: int | None, duration_s: float | None) -> int:
        return len(due_offsets(mode, 50, None, requests, duration_s, np.random.default_rng(seed)))  # type: ignore[arg-type]

    assert count(10, 2) == min(10, count(None, 2))
    assert count(1_000, 2) == min(1_000, count(None, 2))


def test_poisson_gaps_are_exponential() -> None:
    """Kolmogorov-Smirnov: sqrt(n) x the largest distance from 1 - exp(-rate x gap) stays under 1.95, its 0.1 % point."""
    rate, n = 25.0, 20_000
    gaps = np.sort(np.diff(gamma_offsets(rate, 1, n + 1, None, np.random.default_rng(7)))) / 1e9
    theory = 1 - np.exp(-rate * gaps)
    steps = np.arange(n + 1) / n
    distance = max(np.abs(theory - steps[1:]).max(), np.abs(theory - steps[:-1]).max())
    assert distance * np.sqrt(n) < 1.95
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(1, abs=0.03)


def test_poisson_arrivals_do_not_favour_whole_seconds() -> None:
    offsets = gamma_offsets(5, 1, 50_000, None, np.random.default_rng(3))
    from_a_second = np.minimum(offsets % 10**9, 10**9 - offsets % 10**9)
    assert np.mean(from_a_second < 10**6) < 0.005  # 0.002 expected


def test_an_endless_loop_is_refused() -> None:
    with pytest.raises(ValueError, match="a number of requests, a duration"):
        due_offsets("constant", 1, None, None, None, np.random.default_rng(1))


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gamma_gaps_have_the_asked_mean_and_coefficient_of_variation(burstiness: float) -> None:
    gaps = np.diff(gamma_offsets(20, burstiness, 100_000, None, np.random.default_rng(5))) / 1e9
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(burstiness**-0.5, rel=0.03)
