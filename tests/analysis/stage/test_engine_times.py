from __future__ import annotations

import pytest

from tests.support.records import samples_of
from trtbench.analysis.stage.engine_times import engine_times

MS = 1_000_000


def test_means_are_of_the_requests_that_the_server_finished_between_the_borders() -> None:
    samples = samples_of(
        {
            ("engine_requests", ""): [(0, 10), (100, 14), (200, 99)],
            ("engine_queue_ns", ""): [(0, 5 * MS), (100, 13 * MS), (200, 900 * MS)],
            ("engine_prefill_ns", ""): [(0, 0), (100, 40 * MS), (200, 900 * MS)],
            ("engine_decode_ns", ""): [(0, 1 * MS), (100, 401 * MS), (200, 900 * MS)],
            ("engine_preemptions", ""): [(0, 1), (100, 3), (200, 9)],
            ("prefix_cache_queries", ""): [(0, 100), (100, 300), (200, 900)],
            ("prefix_cache_hits", ""): [(0, 10), (100, 60), (200, 900)],
        }
    )
    times = engine_times(samples, 0, 100)
    assert times is not None
    assert (times.requests, times.queue_mean_ns, times.prefill_mean_ns, times.decode_mean_ns) == (4, 2 * MS, 10 * MS, 100 * MS)
    assert (times.front_end_in_mean_ns, times.front_end_out_mean_ns, times.preemptions) == (None, None, 2)
    assert times.prefix_hit_ratio == pytest.approx(0.25)


def test_a_prefix_cache_that_nothing_was_looked_up_in_has_no_hit_ratio() -> None:
    zeros = {(name, ""): [(0, 0.0), (9, 0.0)] for name in ("prefix_cache_queries", "prefix_cache_hits")}
    times = engine_times(samples_of({("engine_requests", ""): [(0, 0), (9, 1)], **zeros}), 0, 9)
    assert times is not None and times.prefix_hit_ratio is None and times.queue_mean_ns is None


def test_without_a_finished_request_or_a_counter_there_is_no_mean() -> None:
    assert engine_times(samples_of({}), 0, 9) is None
    assert engine_times(samples_of({("engine_requests", ""): [(0, 3), (9, 3)]}), 0, 9) is None
    assert engine_times(samples_of({("engine_requests", ""): [(5, 3), (9, 4)]}), 0, 9) is None
