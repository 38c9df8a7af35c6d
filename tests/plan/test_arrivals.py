from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.plan.arrivals import Offsets, RateProfile, burst_offsets, due_offsets

rates = st.floats(0.01, 5_000)
counts = st.integers(1, 500)
seeds = st.integers(0, 2**32)
laws = st.none() | st.sampled_from([0.25, 1.0, 4.0])
CRITICAL = 1.95
"""0.1 % point of Kolmogorov's distribution: sqrt(n) x the largest distance of n samples from their law stays below it."""


def steady(rate: float, burstiness: float | None, requests: int | None = None, duration_s: float | None = None, seed: int = 7) -> Offsets:
    return due_offsets(RateProfile.steady(rate), burstiness, requests, duration_s, np.random.default_rng(seed))


def kolmogorov(probabilities: npt.NDArray[Any]) -> float:
    """sqrt(n) x the distance from the uniform law, which each sample's own distribution function must give."""
    ordered, steps = np.sort(probabilities), np.arange(len(probabilities) + 1) / len(probabilities)
    return float(max(np.abs(ordered - steps[1:]).max(), np.abs(ordered - steps[:-1]).max()) * np.sqrt(len(ordered)))


@given(rates, counts)
def test_constant_arrivals_never_drift(rate: float, requests: int) -> None:
    offsets = steady(rate, None, requests)
    assert offsets.dtype == np.int64
    for index in (0, requests // 2, requests - 1):
        assert abs(offsets[index] - index * 1e9 / rate) <= 0.5 + 1e-6 * index


@given(st.integers(1, 200), st.integers(1, 50))
def test_a_constant_rate_fills_its_duration_exactly(rate: int, duration_s: int) -> None:
    assert len(steady(rate, None, None, duration_s)) == rate * duration_s


@given(rates, laws, counts, seeds)
def test_arrivals_are_in_order_and_as_many_as_asked(rate: float, burstiness: float | None, requests: int, seed: int) -> None:
    offsets = steady(rate, burstiness, requests, seed=seed)
    assert len(offsets) == requests and offsets.dtype == np.int64
    assert (np.diff(offsets) >= 0).all() and offsets[0] >= 0


profiles = st.one_of(
    st.builds(RateProfile.steady, st.floats(0.1, 500)),
    st.builds(RateProfile.ramp, st.floats(0, 200), st.floats(0.1, 200), st.floats(0.1, 20)),
    st.builds(RateProfile.staircase, st.floats(0, 200), st.floats(0.1, 200), st.integers(2, 9), st.floats(0.1, 20)),
)


@given(profiles, laws, st.floats(0.1, 20), seeds)
def test_more_time_or_more_requests_keep_the_arrivals_there_were(
    profile: RateProfile, burstiness: float | None, duration_s: float, seed: int
) -> None:
    def draw(requests: int | None, duration_s: float | None) -> Offsets:
        return due_offsets(profile, burstiness, requests, duration_s, np.random.default_rng(seed))

    by_time = draw(None, duration_s)
    assert (by_time < duration_s * 1e9).all()
    assert draw(None, duration_s * 2)[: len(by_time)].tolist() == by_time.tolist()
    counted = draw(len(by_time) + 1, None)
    assert counted[:-1].tolist() == by_time.tolist()
    assert counted[-1] >= round(duration_s * 1e9) - 1


@given(laws, seeds)
def test_the_first_of_both_bounds_ends_a_stage(burstiness: float | None, seed: int) -> None:
    by_time = len(steady(50, burstiness, None, 2, seed))
    assert len(steady(50, burstiness, 10, 2, seed)) == min(10, by_time)
    assert len(steady(50, burstiness, 1_000_000_000, 2, seed)) == by_time


def test_an_endless_loop_is_refused() -> None:
    with pytest.raises(ValueError, match="a number of requests, a duration"):
        steady(1, None)


def test_poisson_gaps_are_exponential() -> None:
    gaps_s = np.diff(steady(25, 1.0, 20_001)) / 1e9
    assert kolmogorov(1 - np.exp(-25 * gaps_s)) < CRITICAL
    assert np.std(gaps_s) / np.mean(gaps_s) == pytest.approx(1, abs=0.03)


def test_gamma_gaps_of_shape_two_follow_erlangs_law() -> None:
    gaps = np.diff(steady(25, 2.0, 20_001)) / 1e9 * 50  # of rate 2: 1 - (1 + x) exp(-x)
    assert kolmogorov(1 - (1 + gaps) * np.exp(-gaps)) < CRITICAL


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gamma_gaps_have_the_asked_mean_and_coefficient_of_variation(burstiness: float) -> None:
    gaps_s = np.diff(steady(20, burstiness, 100_000)) / 1e9
    assert gaps_s.mean() == pytest.approx(1 / 20, rel=0.03)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(burstiness**-0.5, rel=0.03)


RAMPS = [RateProfile.ramp(1, 40, 250), RateProfile.ramp(40, 0, 250), RateProfile.staircase(5, 30, 6, 150)]


@pytest.mark.parametrize("profile", RAMPS)
def test_poisson_arrivals_of_a_ramp_lie_as_its_rate_says(profile: RateProfile) -> None:
    """Given their number, the instants of a Poisson process are independent draws from its normalised integral."""
    until_s = 250.0
    instants_s = due_offsets(profile, 1.0, None, until_s, np.random.default_rng(11)) / 1e9
    expected = profile.expected(until_s)
    assert abs(len(instants_s) - expected) < 4 * expected**0.5
    assert kolmogorov(np.array([profile.expected(instant) for instant in instants_s]) / expected) < CRITICAL
    gaps = np.diff([profile.expected(instant) for instant in instants_s])
    assert kolmogorov(1 - np.exp(-gaps)) < CRITICAL


@pytest.mark.parametrize("profile", RAMPS)
def test_constant_arrivals_of_a_ramp_are_one_expected_request_apart(profile: RateProfile) -> None:
    instants_s = due_offsets(profile, None, None, 250, np.random.default_rng(1)) / 1e9
    assert len(instants_s) == np.ceil(profile.expected(250))
    assert np.diff([profile.expected(instant) for instant in instants_s]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("profile", [RateProfile.steady(5), RateProfile.ramp(1, 9, 10_000), RateProfile.staircase(1, 9, 10, 10_000)])
def test_arrivals_do_not_favour_whole_seconds(profile: RateProfile) -> None:
    offsets = due_offsets(profile, 1.0, 50_000, None, np.random.default_rng(3))
    from_a_second = np.minimum(offsets % 10**9, 10**9 - offsets % 10**9)
    assert np.mean(from_a_second < 10**6) < 0.004  # 0.002 expected
    assert kolmogorov(offsets % 10**9 / 1e9) < CRITICAL


bursts = st.tuples(st.floats(0.1, 300), st.floats(0.01, 5), st.floats(0.01, 5))


@given(bursts, laws, st.floats(0.1, 60), seeds)
def test_bursts_send_while_on_and_never_while_off(
    burst: tuple[float, float, float], burstiness: float | None, duration_s: float, seed: int
) -> None:
    rate, on_s, off_s = burst
    on_ns, off_ns = round(on_s * 1e9), round(off_s * 1e9)
    offsets = burst_offsets(rate, on_s, off_s, burstiness, None, duration_s, np.random.default_rng(seed))
    assert (offsets % (on_ns + off_ns) < on_ns).all()
    assert (np.diff(offsets) >= 0).all() and (offsets < duration_s * 1e9).all()
    longer = burst_offsets(rate, on_s, off_s, burstiness, None, 2 * duration_s, np.random.default_rng(seed))
    assert longer[: len(offsets)].tolist() == offsets.tolist()
    assert (longer[len(offsets) :] >= duration_s * 1e9 - 1).all()


def test_constant_bursts_begin_with_a_request() -> None:
    offsets = burst_offsets(10, 0.3, 0.7, None, 9, None, np.random.default_rng(1))
    assert (offsets // 10**6).tolist() == [0, 100, 200, 1000, 1100, 1200, 2000, 2100, 2200]


def test_bursts_without_their_pauses_are_a_poisson_process_of_their_rate() -> None:
    on_ns, cycle_ns = 2 * 10**9, 10 * 10**9
    offsets = burst_offsets(50, 2, 8, 1.0, None, 2000, np.random.default_rng(5))
    busy_s = (offsets // cycle_ns * on_ns + offsets % cycle_ns) / 1e9
    assert kolmogorov(1 - np.exp(-50 * np.diff(busy_s))) < CRITICAL
    assert len(offsets) == pytest.approx(2000 * 10, rel=0.03)  # the stage's level: 50 x 2 / (2 + 8)


spans = st.floats(0.1, 100_000)
any_profile = st.one_of(
    st.builds(RateProfile.steady, rates),
    st.builds(RateProfile.ramp, rates | st.just(0.0), rates, spans),
    st.builds(RateProfile.staircase, rates | st.just(0.0), rates, st.integers(2, 30), spans),
)


@given(any_profile, st.floats(0, 1))
def test_an_instant_is_the_inverse_of_what_is_expected_until_it(profile: RateProfile, share: float) -> None:
    most = profile.expected(2 * float(profile.starts_s[-1]) + 1)
    (instant_s,) = profile.instants_s(np.array([share * most]))
    assert profile.expected(instant_s) == pytest.approx(share * most, rel=1e-9, abs=1e-9 * most)


@given(any_profile)
def test_more_expected_is_never_earlier(profile: RateProfile) -> None:
    instants_s = profile.instants_s(np.linspace(0, profile.expected(2 * float(profile.starts_s[-1]) + 1), 500))
    assert (np.diff(instants_s) >= 0).all() and instants_s[0] >= 0


@given(rates, rates, spans)
def test_a_ramp_expects_the_mean_of_its_ends_and_then_holds_the_last(first: float, last: float, over_s: float) -> None:
    profile = RateProfile.ramp(first, last, over_s)
    assert profile.expected(over_s) == pytest.approx((first + last) / 2 * over_s)
    assert profile.expected(over_s + 10) - profile.expected(over_s) == pytest.approx(10 * last, rel=1e-6)


def test_stairs_hold_each_rate_equally_long() -> None:
    profile = RateProfile.staircase(10, 40, 4, 20)
    assert [profile.expected(second) for second in (0, 5, 10, 15, 20, 25)] == [0, 50, 150, 300, 500, 700]
    assert profile.instants_s(np.array([0.0, 25, 50, 150, 300, 540])).tolist() == [0, 2.5, 5, 10, 15, 21]


def test_known_instants_of_a_ramp_from_nothing() -> None:
    """Rate t: t^2 / 2 are expected until t."""
    profile = RateProfile.ramp(0, 100, 100)
    assert profile.instants_s(np.array([0, 0.5, 2, 50])).tolist() == [0, 1, 2, 10]


def test_a_rate_that_ends_has_no_instant_for_more() -> None:
    down, stairs = RateProfile.ramp(10, 0, 8), RateProfile.staircase(10, 0, 2, 8)
    for profile in (down, stairs):
        assert profile.expected(100) == 40
        assert profile.instants_s(np.array([0.0, 40, 41])).tolist() == [0, np.inf, np.inf]
    assert down.instants_s(np.array([39.999]))[0] == pytest.approx(8, abs=0.05)


def test_stairs_from_nothing_begin_with_their_second_rate() -> None:
    assert RateProfile.staircase(0, 10, 2, 8).instants_s(np.array([0.0, 10])).tolist() == [4, 5]
