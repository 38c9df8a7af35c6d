from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import request_of, samples_of

from trtbench.analysis.kv_cache import Residency, blocks_left, kv_cache
from trtbench.records import ServerTimes


def test_residency_of_one_request() -> None:
    request = request_of(0, [50, 60, 70], input_tokens=100, done_ns=75, server=ServerTimes(10, 20, 49, 69))
    instants = np.array([0, 19, 20, 49, 50, 60, 70, 74, 75, 99])
    assert Residency([request]).at(instants).tolist() == [0, 0, 100, 100, 101, 102, 103, 103, 0, 0]


def test_without_the_servers_stamps_residency_begins_with_the_first_token() -> None:
    assert Residency([request_of(0, [50], input_tokens=9, done_ns=60)]).at(np.array([49, 50, 60])).tolist() == [0, 10, 0]


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 200), st.integers(1, 8)), max_size=20), st.integers(0, 3000))
def test_residency_equals_counting_each_request(rows: list[tuple[int, int, int]], instant: int) -> None:
    requests = [request_of(due, [due + 10 * i for i in range(1, n + 1)], input_tokens=size) for due, size, n in rows]
    expected = sum(
        r.input_tokens + sum(at <= instant for at in r.token_ns) for r in requests if r.token_ns[0] <= instant < (r.done_ns or 0)
    )
    assert Residency(requests).at(np.array([instant])).tolist() == [expected]


def readings(used: list[int]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    return {
        ("kv_blocks_used", ""): [(10 * i, n) for i, n in enumerate(used)],
        ("kv_blocks_max", ""): [(0, 10)],
        ("kv_block_tokens", ""): [(0, 16)],
    }


def test_bytes_per_token_and_fragmentation() -> None:
    request = request_of(0, [10, 20, 30], input_tokens=20, done_ns=35)
    cache = kv_cache(samples_of(readings([0, 2, 2, 2])), 0, 30, Residency([request]), 100, prefix_caching=False)
    assert cache is not None
    measured = (2 + 2 + 2) * 16 * 100 / (21 + 22 + 23)
    assert cache.bytes_per_token_measured == pytest.approx(measured)
    assert cache.fragmentation_ratio == pytest.approx(1 - 100 / measured)
    assert (cache.used_ratio_peak, cache.used_ratio_mean) == (0.2, pytest.approx(0.15))


def test_shares_over_ninety_percent() -> None:
    cache = kv_cache(samples_of(readings([9, 10, 10, 1])), 0, 30, Residency([]), None, prefix_caching=False)
    assert cache is not None
    assert (cache.used_ratio_peak, cache.near_full_ratio) == (1.0, 0.5)
    assert cache.bytes_per_token_measured is None and cache.fragmentation_ratio is None


def test_shared_prefixes_are_no_fragmentation() -> None:
    request = request_of(0, [10], input_tokens=64, done_ns=35)
    cache = kv_cache(samples_of(readings([0, 1, 1])), 0, 30, Residency([request]), 100, prefix_caching=True)
    assert cache is not None and cache.bytes_per_token_measured is not None and cache.fragmentation_ratio is None


def test_blocks_left_only_from_a_reading_after_the_drain() -> None:
    samples = samples_of(readings([0, 5, 2]))
    assert blocks_left(samples, 20) == 2
    assert blocks_left(samples, 21) is None
    assert kv_cache(samples_of({}), 0, 30, Residency([]), 100, prefix_caching=False) is None
