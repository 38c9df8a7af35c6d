"""Laws of growth are found back from points that follow them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.experiments.context_limit.growth import linear_growth, power_growth

LENGTHS = st.lists(st.integers(1, 100_000), min_size=3, max_size=20, unique=True)


@given(LENGTHS, st.floats(1e-3, 1e6), st.floats(0.2, 3))
def test_a_power_law(lengths: list[int], base: float, order: float) -> None:
    found = power_growth(2, "ttft_ns", [(n, base * n**order) for n in lengths])
    assert found and found.slope == pytest.approx(order, abs=1e-5) and found.lengths == len(lengths)
    assert found.at(777) == pytest.approx(base * 777**order, rel=0.01)
    assert found.explained_ratio == pytest.approx(1, abs=1e-4)


@given(LENGTHS, st.floats(0, 1e9), st.floats(1, 1e6))
def test_a_line(lengths: list[int], base: float, slope: float) -> None:
    found = linear_growth(1, "server_rss_bytes_peak", [(n, base + slope * n) for n in lengths])
    assert found and found.law == "line"
    assert found.at(lengths[0]) == pytest.approx(base + slope * lengths[0], rel=1e-6)


def test_below_three_lengths_there_is_no_law() -> None:
    assert power_growth(1, "ttft_ns", [(1, 2.0), (2, 4.0), (2, 4.0)]) is None
    assert linear_growth(1, "ttft_ns", []) is None
    assert power_growth(1, "ttft_ns", [(1, 3.0), (2, 6.0), (4, 0.0)]) is None, "no logarithm of nothing"


def test_several_tries_of_a_length_count_once() -> None:
    found = linear_growth(1, "ttft_ns", [(1, 1.0), (2, 2.0), (3, 2.0), (3, 4.0), (3, 3.0)])
    assert found and found.slope == pytest.approx(1) and found.lengths == 3


def test_what_does_not_vary_explains_nothing() -> None:
    found = linear_growth(1, "server_rss_bytes_peak", [(1, 5.0), (2, 5.0), (3, 5.0)])
    assert found and found.explained_ratio is None and found.slope == pytest.approx(0)
