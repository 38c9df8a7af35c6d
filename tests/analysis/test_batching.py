from __future__ import annotations

import pytest
from synthetic_run import samples_of

from trtbench.analysis.batching import inflight_batching, triton_batching
from trtbench.analysis.window import Level


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
    assert batch is not None
    assert batch.histogram == {0: 1, 1: 1, 4: 2}
    assert batch.running == Level(2.25, 0, 4) and batch.batched_ratio == 0.5
    assert batch.limit == 32 and batch.waiting is None
    assert inflight_batching(samples_of({}), 0, 10) is None
