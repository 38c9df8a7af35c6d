"""What the engine reports of itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import columns, request_of, samples_of
from trtbench.analysis.stage.engine_metrics import (
    DraftsByRequest,
    ReuseByRequest,
    drafts_by_request,
    missing_families,
    reuse_by_request,
    tokens_beyond_ours,
    without_stale,
)
from trtbench.rundir.records import EngineCounts, Outcome, RequestRecord

SECOND = 10**9


def _pages(*rows: tuple[float, int, int]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Pages of (second, iterations, scheduled)."""
    series = {"engine_iterations": 1, "inflight_scheduled_requests": 2, "kv_blocks_max": None}
    return {(name, ""): [(round(row[0] * SECOND), float(64 if at is None else row[at])) for row in rows] for name, at in series.items()}


def test_the_last_steps_gauges_do_not_count_while_the_engine_rests() -> None:
    """Two requests, 1 to 2 s and 5 to 6 s; the page repeats the last step's 1 running request at 3 and 4 s."""
    requests = [request_of(1 * SECOND, [2 * SECOND]), request_of(5 * SECOND, [6 * SECOND])]
    pages = _pages((0.5, 7, 1), (1.5, 9, 1), (2.5, 12, 1), (3, 12, 1), (4, 12, 1), (5.5, 13, 1), (6.5, 15, 1))
    samples, stale = without_stale(samples_of(pages), columns(requests))
    assert stale == 2
    times, values = samples.series("inflight_scheduled_requests")
    assert (times / SECOND).tolist() == [0.5, 1.5, 2.5, 5.5, 6.5] and values.tolist() == [1.0] * 5
    assert len(samples.series("kv_blocks_max")[0]) == 7, "what does not change is no gauge of a step"


def test_a_long_step_is_no_rest() -> None:
    samples, stale = without_stale(samples_of(_pages((1, 4, 1), (2, 4, 1), (3, 4, 1))), columns([request_of(1 * SECOND, [3 * SECOND])]))
    assert stale == 0 and len(samples.series("inflight_scheduled_requests")[0]) == 3


def test_a_counter_that_moves_by_others_requests_is_no_rest() -> None:
    assert without_stale(samples_of(_pages((1, 4, 1), (2, 5, 3))), columns([]))[1] == 0


def test_without_a_counter_nothing_is_known_to_be_stale() -> None:
    pages = _pages((1, 4, 1), (2, 4, 1))
    del pages["engine_iterations", ""]
    assert without_stale(samples_of(pages), columns([]))[1] == 0


def test_families_that_no_page_had_are_named() -> None:
    assert missing_families(samples_of(_pages((1, 4, 1)))) == ("nv_trt_llm_kv_cache_block_metrics",)
    assert missing_families(samples_of({})) == ("nv_trt_llm_request_metrics", "nv_trt_llm_kv_cache_block_metrics")


def _counted(*points: tuple[float, int]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    return {("engine_output_tokens", ""): [(round(at * SECOND), float(tokens)) for at, tokens in points]}


def test_the_servers_count_of_tokens_is_held_against_ours() -> None:
    """Two requests of 1 and 2 tokens: the server's own counter rises by 3, by 5, or by the echoed prompt too."""
    requests = [request_of(1 * SECOND, [2 * SECOND]), request_of(2 * SECOND, [3 * SECOND, 4 * SECOND])]
    for end, beyond in ((103, 0), (105, 2), (101, -2)):
        assert tokens_beyond_ours(samples_of(_counted((0.5, 100), (5, end))), columns(requests), SECOND // 2) == beyond
    requests[0].echoed_tokens = 10
    assert tokens_beyond_ours(samples_of(_counted((0.5, 100), (5, 113))), columns(requests), SECOND // 2) == 0


def test_what_cannot_be_compared_is_not() -> None:
    requests = [request_of(1 * SECOND, [2 * SECOND])]
    whole = _counted((0.5, 0), (5, 1))
    assert tokens_beyond_ours(samples_of(whole), columns(requests), SECOND) == 0
    assert tokens_beyond_ours(samples_of({}), columns(requests), SECOND) is None
    assert tokens_beyond_ours(samples_of(whole), columns(requests), 4 * SECOND) is None, "no reading late enough"
    assert tokens_beyond_ours(samples_of(_counted((1.5, 0), (5, 1))), columns(requests), SECOND) is None, "none before the load"
    failed = [*requests, request_of(1 * SECOND, [], Outcome.OTHER)]
    assert tokens_beyond_ours(samples_of(whole), columns(failed), SECOND) is None


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
