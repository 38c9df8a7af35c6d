"""Findings on Triton's dynamic batcher: that it forms no batches, and why, or that it holds requests back for too long."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings.rule import LEAST_EXECUTIONS, Case

BATCH_HIT_LOW_RATIO, BATCH_HIT_HIGH_RATIO = 0.05, 0.5
_IN_FLIGHT_BATCH = 1.5
"""The mean running batch from which the engine itself batches."""
_DELAY_OF_LIMIT_RATIO = 0.1
_NS_PER_US, _NS_PER_MS = 1_000, 1_000_000


def never_batches(case: Case) -> Iterator[Finding]:
    """Under 5 % of inferences were in a batch at the highest closed-loop load, over 20 executions or more. `batches_without_delay`: the
    batcher waits for no further request; `batcher_unused`: the engine batches in flight. Not for models that take requests one by one.
    """
    result, facts = case.result, case.result.facts
    closed = [stage for stage in result.stages if stage.is_closed_loop and stage.level >= 2]
    if not closed or not facts.dynamic_batching or facts.max_batch_size == 1 or facts.traits.triton_batches_are_one:
        return
    stage = max(closed, key=lambda stage: stage.level)
    triton = stage.triton_batching
    if triton is None or triton.batch_hit_ratio is None or triton.executions < LEAST_EXECUTIONS:
        return
    if triton.batch_hit_ratio < BATCH_HIT_LOW_RATIO:
        batch = stage.inflight.mean_batch if stage.inflight else None
        figures: dict[str, float | str] = {
            "batch_hit_ratio": triton.batch_hit_ratio,
            "executions": triton.executions,
            "delay_us": facts.queue_delay_us,
            "inflight_mean": "-" if batch is None else batch,
        }
        yield Finding(_kind(batch, facts.queue_delay_us), "info", result.name, stage.span.name, figures=figures)


def _kind(running_batch: float | None, delay_us: int) -> str:
    if running_batch is not None and running_batch >= _IN_FLIGHT_BATCH:
        return "batcher_unused"
    return "never_batches" if delay_us else "batches_without_delay"


def delay_too_long(case: Case, stage: StageResult) -> Finding | None:
    """Half of the inferences or more were in a batch, the P99 of TTFT (of an encoder: latency) breaks the SLO, and the queue delay is what
    requests wait for in Triton's queue: it is 10 % of the limit or more, and the mean wait is half of it to its double.
    """
    slo, batch, delay_ns = case.scenario.slo, stage.triton_batching, case.result.facts.queue_delay_us * _NS_PER_US
    limit_ms, first = slo.ttft_ms or slo.e2e_latency_ms, stage.latency.first_answer_ns
    reached_ns = first.p99 or first.p50
    if not limit_ms or batch is None or batch.batch_hit_ratio is None or batch.queue_mean_ns is None or reached_ns is None:
        return None
    breaks = reached_ns > limit_ms * _NS_PER_MS and delay_ns >= _DELAY_OF_LIMIT_RATIO * limit_ms * _NS_PER_MS
    if not breaks or batch.batch_hit_ratio < BATCH_HIT_HIGH_RATIO or not 0.5 * delay_ns <= batch.queue_mean_ns <= 2 * delay_ns:
        return None
    figures: dict[str, float | str] = {
        "batch_hit_ratio": batch.batch_hit_ratio,
        "delay_us": case.result.facts.queue_delay_us,
        "queue_ns": batch.queue_mean_ns,
        "reached_ns": reached_ns,
        "limit_ns": limit_ms * _NS_PER_MS,
    }
    return Finding("delay_too_long", "warning", figures=figures)
