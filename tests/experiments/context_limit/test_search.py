from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from trtbench.experiments.context_limit.search import Bisection


def search(limit: int, shortest: int, longest: int, resolution: int) -> tuple[Bisection, list[int]]:
    found, tried = Bisection(shortest, longest, resolution), []
    while (length := found.next()) is not None:
        tried.append(length)
        found.add(length, length <= limit)
        assert len(tried) < 200
    return found, tried


@given(limit=st.integers(0, 20_000), shortest=st.integers(1, 500), beyond=st.integers(0, 20_000), resolution=st.integers(1, 64))
def test_it_finds_the_planted_limit_to_its_resolution(limit: int, shortest: int, beyond: int, resolution: int) -> None:
    longest = shortest + beyond
    found, tried = search(limit, shortest, longest, resolution)
    assert len(tried) == len(set(tried)), "no length is tried twice"
    assert max(tried) <= longest
    if limit >= longest:
        assert (found.passed, found.failed) == (longest, None)
        return
    assert found.failed is not None and found.failed > limit
    assert found.passed is None or found.passed <= limit
    assert found.failed - (found.passed or 0) <= resolution


@given(limit=st.integers(1, 20_000))
def test_it_tries_as_few_lengths_as_doubling_and_halving_need(limit: int) -> None:
    _, tried = search(limit, 64, 20_001, 32)
    assert len(tried) <= 2 * math.ceil(math.log2(20_001 / 32)) + 2
