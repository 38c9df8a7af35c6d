from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.plan.draws.rates import RateProfile

rates = st.floats(0.01, 5_000)
spans = st.floats(0.1, 100_000)
profiles = st.one_of(
    st.builds(RateProfile.steady, rates),
    st.builds(RateProfile.ramp, rates | st.just(0.0), rates, spans),
    st.builds(RateProfile.staircase, rates | st.just(0.0), rates, st.integers(2, 30), spans),
)


@given(profiles, st.floats(0, 1))
def test_an_instant_is_the_inverse_of_what_is_expected_until_it(profile: RateProfile, share: float) -> None:
    most = profile.expected(2 * float(profile.starts_s[-1]) + 1)
    (instant_s,) = profile.instants_s(np.array([share * most]))
    assert profile.expected(instant_s) == pytest.approx(share * most, rel=1e-9, abs=1e-9 * most)


@given(profiles)
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
