from __future__ import annotations

from tests.support.columns import columns
from tests.support.synthetic_run import request_of, samples_of
from trtbench.analysis.stage.engine_gauges import missing_families, tokens_beyond_ours, without_stale
from trtbench.rundir.records import Outcome

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
