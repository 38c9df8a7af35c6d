from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.columns import columns
from tests.support.synthetic_run import request_of
from trtbench.analysis.stage.engine_counts import DraftsByRequest, ReuseByRequest, drafts_by_request, reuse_by_request
from trtbench.rundir.records import EngineCounts, RequestRecord

blocks = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20)


def told(*counts: EngineCounts | None) -> list[RequestRecord]:
    return [request_of(0, [10], engine=one) for one in counts]


@given(blocks)
def test_the_hit_ratio_is_of_all_blocks_not_the_mean_of_requests(pairs: list[tuple[int, int]]) -> None:
    found = reuse_by_request(columns(told(*(EngineCounts(hit, missed, 99, 99) for hit, missed in pairs), None)))
    hits, all_blocks = sum(hit for hit, _ in pairs), sum(map(sum, pairs))
    ratio = hits / all_blocks if all_blocks else None
    assert found == ReuseByRequest(len(pairs), hits, all_blocks - hits, "missed", ratio)


def test_an_engine_without_missed_blocks_is_taken_by_what_it_allocated() -> None:
    """NVIDIA's own test of the C++ backend: a prompt of 4 blocks, then again; the last, found in part, is copied into a new one."""
    found = reuse_by_request(columns(told(EngineCounts(0, None, 4, 4), EngineCounts(4, None, 1, 1))))
    assert found == ReuseByRequest(2, 4, 5, "allocated", 4 / 9)


@pytest.mark.parametrize(
    "counts", [(), (None, None), (EngineCounts(kv_reused_blocks=3),), (EngineCounts(kv_missed_blocks=3),), (EngineCounts(draft_tokens=3),)]
)
def test_without_both_sides_of_the_ratio_nothing_is_said(counts: tuple[EngineCounts | None, ...]) -> None:
    assert reuse_by_request(columns(told(*counts))) is None


def test_no_block_counted_is_no_ratio_of_zero() -> None:
    found = reuse_by_request(columns(told(EngineCounts(0, 0))))
    assert found and found.hit_ratio is None


def test_one_odd_answer_does_not_change_what_the_rest_is_counted_by() -> None:
    found = reuse_by_request(columns(told(EngineCounts(1, 1, 1, 2), EngineCounts(5, None, None, 5), EngineCounts(2, 2, 1, 3))))
    assert found == ReuseByRequest(3, 8, 10, "allocated", 8 / 18)


def test_drafts_are_added_up_over_the_requests_that_had_any() -> None:
    counts = [EngineCounts(draft_tokens=proposed, accepted_draft_tokens=accepted) for proposed, accepted in ((8, 6), (0, 0), (12, 3))]
    assert drafts_by_request(columns(told(*counts, None))) == DraftsByRequest(2, 20, 9, 0.45)


@pytest.mark.parametrize(
    "counts", [None, EngineCounts(1, 1), EngineCounts(draft_tokens=0, accepted_draft_tokens=0), EngineCounts(draft_tokens=5)]
)
def test_an_engine_that_does_not_speculate_has_no_ratio(counts: EngineCounts | None) -> None:
    assert drafts_by_request(columns(told(counts))) is None
