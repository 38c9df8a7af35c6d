from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import samples_of
from trtbench.analysis.stage.batching import InflightBatching, inflight_batching, triton_batching
from trtbench.analysis.stats.window import Level
from trtbench.report.sections.batching_tables import by_requests


def test_triton_batches_are_deltas_between_the_readings_at_the_borders() -> None:
    samples = samples_of(
        {
            ("triton_inference_count", ""): [(0, 5), (100, 12), (200, 25), (300, 33)],
            ("triton_execution_count", ""): [(0, 5), (100, 10), (200, 14), (300, 15)],
            ("triton_batch_executions", "1"): [(0, 5), (100, 8), (200, 8), (300, 8)],
            ("triton_batch_executions", "2"): [(100, 2), (200, 3), (300, 3)],
            ("triton_batch_executions", "4"): [(200, 3), (300, 3)],
            ("triton_batch_executions", "8"): [(300, 1)],  # after the window
            ("triton_queue_ns", ""): [(0, 0), (200, 4000)],
            ("triton_success_count", ""): [(0, 0), (200, 20)],
        }
    )
    batch = triton_batching(samples, 50, 150, 8)
    assert batch is not None
    assert batch.histogram == {1: 3, 2: 3, 4: 3}
    assert (batch.inferences, batch.executions) == (20, 9)
    assert batch.batch_hit_ratio == pytest.approx((6 + 12) / 21)
    assert batch.mean_batch == pytest.approx(20 / 9) and batch.fill_ratio == pytest.approx(20 / 9 / 8)
    assert batch.queue_mean_ns == 200


def test_without_a_reading_at_the_start_there_is_no_delta() -> None:
    samples = samples_of({("triton_inference_count", ""): [(100, 7)], ("triton_execution_count", ""): [(100, 7)]})
    assert triton_batching(samples, 50, 150, 8) is None
    assert triton_batching(samples_of({}), 50, 150, 8) is None


def test_an_idle_window_has_no_hit_ratio() -> None:
    samples = samples_of({("triton_inference_count", ""): [(0, 7), (9, 7)], ("triton_execution_count", ""): [(0, 7), (9, 7)]})
    batch = triton_batching(samples, 0, 9, 8)
    assert batch is not None and batch.batch_hit_ratio is None and batch.mean_batch is None


def test_inflight_batch_as_sampled() -> None:
    samples = samples_of(
        {
            ("inflight_scheduled_requests", ""): [(0, 9), (10, 1), (20, 4), (30, 4), (40, 0)],
            ("inflight_max_requests", ""): [(10, 32)],
        }
    )
    batch = inflight_batching(samples, 10, 40)
    assert batch is not None and not batch.exact
    assert batch.histogram == {0: 1, 1: 1, 4: 2} and batch.batched_ratio == 0.5
    assert batch.steps == {1: 1, 4: 2}
    assert batch.running == Level(2.25, 0, 4)
    assert batch.mean_batch == 3.0 and batch.seen_batch == pytest.approx((1 + 32) / 9)
    assert batch.in_company_ratio == pytest.approx(8 / 9)
    assert batch.limit == 32 and batch.waiting is None
    assert inflight_batching(samples_of({}), 0, 10) is None


def test_a_sampled_reading_represents_the_iterations_since_the_one_before() -> None:
    """An engine at rest keeps showing its last step: those readings weigh nothing. A counter that falls began anew."""
    samples = samples_of(
        {
            ("inflight_scheduled_requests", ""): [(0, 2), (10, 1), (20, 4), (30, 4), (40, 8)],
            ("engine_iterations", ""): [(0, 100), (10, 110), (20, 140), (30, 140), (40, 5)],
        }
    )
    batch = inflight_batching(samples, 10, 40)
    assert batch is not None and not batch.exact
    assert batch.steps == {1: 10, 4: 30, 8: 5}
    assert batch.request_shares == {1: 10 / 170, 4: 120 / 170, 8: 40 / 170}


def test_counted_steps_are_exact_deltas_between_the_borders() -> None:
    scheduled = [(0, 0), (100, 3), (150, 1), (200, 0), (300, 0)]
    samples = samples_of(
        {
            ("inflight_scheduled_requests", ""): scheduled,
            ("inflight_waiting_requests", ""): [(100, 2), (150, 0), (200, 1)],
            ("inflight_steps", "1"): [(0, 5), (100, 6), (150, 8), (200, 9), (300, 50)],
            ("inflight_steps", "3"): [(100, 4), (150, 6), (200, 10), (300, 10)],
            ("inflight_steps", "16"): [(300, 7)],  # after the window
            ("inflight_tokens", "alone"): [(0, 5), (100, 6), (200, 9), (300, 50)],
            ("inflight_tokens", "in_company"): [(100, 12), (200, 28), (300, 99)],
        }
    )
    batch = inflight_batching(samples, 50, 180)
    assert batch is not None and batch.exact
    assert batch.steps == {1: 4, 3: 10}
    assert batch.mean_batch == 34 / 14 and batch.seen_batch == (4 + 90) / 34
    assert batch.in_company_ratio == 28 / 32
    assert batch.waiting == Level(1.0, 0, 2)  # sampled


def test_counters_without_a_reading_before_the_stage_are_not_used() -> None:
    samples = samples_of({("inflight_scheduled_requests", ""): [(100, 3)], ("inflight_steps", "3"): [(100, 4)]})
    batch = inflight_batching(samples, 50, 180)
    assert batch is not None and not batch.exact and batch.steps == {3: 1}


def test_an_idle_window_has_no_batch() -> None:
    batch = inflight_batching(samples_of({("inflight_scheduled_requests", ""): [(0, 0), (9, 0)]}), 0, 9)
    assert batch is not None and batch.steps == {}
    assert batch.mean_batch is None and batch.seen_batch is None and batch.in_company_ratio is None
    assert batch.request_shares == {}


@given(st.dictionaries(st.integers(1, 64), st.integers(1, 1000), min_size=1))
def test_a_request_never_sees_a_smaller_batch_than_a_step(steps: dict[int, int]) -> None:
    batch = InflightBatching({}, 0.0, True, steps, None, None, None, Level(0, 0, 0), None, None)
    requests, count = sum(size * n for size, n in steps.items()), sum(steps.values())
    seen = sum(size * share for size, share in batch.request_shares.items())
    assert sum(batch.request_shares.values()) == pytest.approx(1)
    assert seen >= requests / count - 1e-9


def test_shares_are_shown_in_bins() -> None:
    assert by_requests({}) == "-"
    assert by_requests({1: 0.1, 2: 0.1, 3: 0.2, 4: 0.1, 5: 0.25, 8: 0.25}) == "1: 10% · 2: 10% · 3–4: 30% · 5–8: 50%"
