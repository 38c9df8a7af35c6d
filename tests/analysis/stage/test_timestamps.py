from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import columns, request_of
from trtbench.analysis.stage.timestamps import stamps
from trtbench.analysis.stats.percentile import Distribution
from trtbench.rundir.records import Outcome

positions = st.lists(st.integers(0, 9), unique=True, max_size=10)


def test_one_request_by_hand() -> None:
    request = request_of(100, [150, 170, 200], token_lag_ns=[5, 9, 1], coalesced=[2])
    seen = stamps(columns([request]))
    assert (seen.responses, seen.kernel_ratio, seen.coalesced_ratio) == (3, 1.0, 1 / 3)
    assert (seen.lag_ns.mean, seen.lag_ns.max, seen.lag_p99_ns) == (5, 9, 9)
    assert seen.ttft_from_read_ns.mean == 55
    assert (seen.itl_from_read_ns.min, seen.itl_from_read_ns.max) == (22, 24)
    assert seen.tpot_from_read_ns.mean == (201 - 155) / 2
    assert (seen.itl_exact_ns.count, seen.itl_exact_ns.mean) == (1, 20)


def test_without_the_kernel_nothing_is_said_of_lag() -> None:
    seen = stamps(columns([request_of(0, [10, 20])]))
    assert (seen.kernel_ratio, seen.lag_p99_ns) == (0.0, None)
    assert seen.lag_ns.count == seen.ttft_from_read_ns.count == seen.itl_from_read_ns.count == seen.itl_exact_ns.count == 0


def test_no_response_at_all() -> None:
    seen = stamps(columns([request_of(0, [], Outcome.NEVER_SENT)]))
    assert (seen.responses, seen.kernel_ratio, seen.coalesced_ratio, seen.lag_p99_ns) == (0, None, None, None)


def test_failed_requests_count_for_the_stamps_but_not_for_latency() -> None:
    seen = stamps(columns([request_of(0, [10, 20], Outcome.TIMEOUT, token_lag_ns=[1, 1], coalesced=[0]), request_of(0, [5])]))
    assert (seen.responses, seen.kernel_ratio, seen.coalesced_ratio) == (3, 2 / 3, 1 / 3)
    assert seen.ttft_from_read_ns.count == 0 and seen.itl_exact_ns.count == 0


@given(positions)
def test_gaps_are_exact_where_neither_end_was_read_with_others(coalesced: list[int]) -> None:
    request = request_of(0, [i * i for i in range(10)], coalesced=coalesced)
    expected = [2 * at + 1 for at in range(9) if not {at, at + 1} & set(coalesced)] if coalesced else []
    assert stamps(columns([request])).itl_exact_ns == Distribution.of(expected)


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**9)), max_size=10))
def test_a_read_is_its_stamp_and_its_lag(pairs: list[tuple[int, int]]) -> None:
    request = request_of(0, [arrival for arrival, _ in pairs], token_lag_ns=[lag for _, lag in pairs])
    reads = [arrival + lag for arrival, lag in pairs]
    seen = stamps(columns([request]))
    assert seen.itl_from_read_ns == Distribution.of(later - earlier for earlier, later in pairwise(reads))
    assert seen.ttft_from_read_ns == Distribution.of(reads[:1])
