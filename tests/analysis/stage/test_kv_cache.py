from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import columns, request_of, samples_of
from trtbench.analysis.stage.kv_cache import Residency, blocks_left, kv_cache
from trtbench.rundir.records import RequestRecord, ServerTimes


def residency(requests: list[RequestRecord], times: Iterable[int] = ()) -> Residency:
    return Residency(columns(requests), np.fromiter(times, np.int64))


def resident(requests: list[RequestRecord], instants: list[int]) -> list[int]:
    return residency(requests, instants).tokens(0, 10**6).tolist()  # type: ignore[no-any-return]


def test_residency_of_one_request() -> None:
    request = request_of(0, [50, 60, 70], input_tokens=100, done_ns=75, server=ServerTimes(10, 20, 49, 69))
    instants = np.array([0, 20, 49, 50, 60, 70, 74, 75, 99])
    assert resident([request], instants.tolist()) == [0, 0, 0, 101, 102, 103, 103, 0, 0]


def test_while_a_request_is_in_prefill_no_residency_is_counted() -> None:
    decoding = request_of(0, [10, 90], input_tokens=9, sent_ns=0)
    waiting = request_of(0, [70], input_tokens=5, sent_ns=20, done_ns=80, server=ServerTimes(21, 60, 69, 69))
    assert resident([decoding, waiting], [10, 40, 59, 60, 69, 70, 80]) == [10, 10, 10, 0, 0, 16, 10]
    waiting.server = None
    assert resident([decoding, waiting], [19, 20, 69, 70]) == [10, 0, 0, 16]


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 200), st.integers(1, 8)), max_size=20), st.integers(0, 3000))
def test_residency_equals_counting_each_request(rows: list[tuple[int, int, int]], instant: int) -> None:
    requests = [request_of(due, [due + 10 * i for i in range(1, n + 1)], input_tokens=size) for due, size, n in rows]
    held = [r.input_tokens + sum(at <= instant for at in r.token_ns) for r in requests if r.token_ns[0] <= instant < (r.done_ns or 0)]
    prefill = any((r.sent_ns or 0) <= instant < r.token_ns[0] for r in requests)
    assert resident(requests, [instant]) == [0 if prefill else sum(held)]


def readings(used: list[int]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    return {
        ("kv_blocks_used", ""): [(10 * i, n) for i, n in enumerate(used)],
        ("kv_blocks_max", ""): [(0, 10)],
        ("kv_block_tokens", ""): [(0, 16)],
    }


def test_bytes_per_token_and_fragmentation() -> None:
    request = request_of(0, [10, 20, 30, 40, 50], input_tokens=20, done_ns=55)
    cache = kv_cache(samples_of(readings([0, 2, 2, 2, 2, 2])), 0, 50, residency([request], range(0, 60, 10)), 100, prefix_caching=False)
    assert cache is not None
    measured = 5 * 2 * 16 * 100 / (21 + 22 + 23 + 24 + 25)
    assert cache.bytes_per_token_measured == pytest.approx(measured)
    assert cache.fragmentation_ratio == pytest.approx(1 - 100 / measured)
    assert (cache.used_ratio_peak, cache.used_ratio_mean) == (0.2, pytest.approx(1 / 6))
    few = kv_cache(samples_of(readings([0, 2, 2, 2, 2])), 0, 50, residency([request], range(0, 50, 10)), 100, prefix_caching=False)
    assert few is not None and few.bytes_per_token_measured is None


def test_shares_over_ninety_percent() -> None:
    cache = kv_cache(samples_of(readings([9, 10, 10, 1])), 0, 30, residency([]), None, prefix_caching=False)
    assert cache is not None
    assert (cache.used_ratio_peak, cache.near_full_ratio) == (1.0, 0.5)
    assert cache.bytes_per_token_measured is None and cache.fragmentation_ratio is None


def test_shared_prefixes_are_no_fragmentation() -> None:
    request = request_of(0, [10], input_tokens=64, done_ns=90)
    cache = kv_cache(samples_of(readings([0, 1, 1, 1, 1, 1])), 0, 60, residency([request], range(0, 60, 10)), 100, prefix_caching=True)
    assert cache is not None and cache.bytes_per_token_measured is not None and cache.fragmentation_ratio is None


def test_batch_means_left_only_from_a_reading_after_the_drain() -> None:
    samples = samples_of(readings([0, 5, 2]))
    assert blocks_left(samples, 20, 0, None) == 2
    assert blocks_left(samples, 21, 0, None) is None
    assert blocks_left(samples_of(readings([1, 5, 4])), 20, 0, None) == 3
    assert blocks_left(samples_of(readings([5, 5, 4])), 20, 0, None) == 0


def test_batch_means_before_the_load_are_sampled_or_passed() -> None:
    samples = samples_of(readings([1, 5, 4]))
    assert blocks_left(samples, 20, -1, 0) == 4
    assert blocks_left(samples, 20, -1, None) is None


def test_no_series_no_figures() -> None:
    assert blocks_left(samples_of({}), 20, 0, 0) is None
    assert kv_cache(samples_of({}), 0, 30, residency([]), 100, prefix_caching=False) is None
