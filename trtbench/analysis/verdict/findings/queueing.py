"""Findings on requests that wait: for a place in the running batch, in Triton's queue, or as the load rises."""

from __future__ import annotations

from trtbench.analysis.stage.kv_cache import NEAR_FULL_RATIO
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings.rule import LEAST_EXECUTIONS, Case

_SPARE_RATIO = 0.7
"""Use of a processor below which another model instance has something to compute on."""


def sequences_bound(case: Case, stage: StageResult) -> Finding | None:
    """The running batch is at its limit and a request or more waits on average, although the KV cache has room."""
    cache, limit = stage.kv_cache, _batch_limit(case, stage)
    batch = stage.inflight
    if batch is None or batch.waiting is None or not limit or batch.waiting.mean < 1 or batch.running.max < limit:
        return None
    if cache is None or kv_is_full(case, stage):
        return None
    figures = {"waiting_mean": batch.waiting.mean, "limit": limit, "peak_ratio": cache.used_ratio_peak}
    return Finding("sequences_bound", "warning", limits=True, figures=figures)


def queue_bound(case: Case, stage: StageResult) -> Finding | None:
    """Requests of a model without streaming spend more time in Triton's queue than in the model, over 20 executions or more."""
    batch = stage.triton_batching
    if not _queues_in_triton(stage) or batch is None or batch.queue_mean_ns is None or batch.compute_mean_ns is None:
        return None
    figures = {"queue_ns": batch.queue_mean_ns, "compute_ns": batch.compute_mean_ns, "fill_ratio": batch.fill_ratio or 0.0}
    return Finding("queue_bound", "info", limits=True, figures=figures)


def one_instance(case: Case, stage: StageResult) -> Finding | None:
    """Requests queue for a single model instance while the processors have capacity to spare (under 70 % used)."""
    facts, use, batch = case.result.facts, stage.resources, stage.triton_batching
    if facts.engines != 1 or facts.mode != "own" or not _queues_in_triton(stage) or batch is None or batch.queue_mean_ns is None:
        return None
    gpus = [gpu.utilization_ratio.mean for gpu in use.gpus.values() if gpu.utilization_ratio]
    used = max(gpus, default=use.machine_cpu_ratio.mean if use.machine_cpu_ratio and facts.traits.takes_cpu_threads else None)
    if used is None or used >= _SPARE_RATIO:
        return None
    return Finding("one_instance", "info", figures={"queue_ns": batch.queue_mean_ns, "used_ratio": used})


def requests_wait(case: Case, stage: StageResult) -> bool:
    """Whether requests wait for another reason than a full KV cache or a running batch at its limit."""
    batch, limit = stage.inflight, _batch_limit(case, stage)
    if kv_is_full(case, stage) or (batch and limit and batch.running.max >= limit):
        return False
    return bool(stage.backlog_grew or _queues_in_triton(stage) or (batch and batch.waiting and batch.waiting.mean >= 1))


def kv_is_full(case: Case, stage: StageResult) -> bool:
    """Whether the KV cache came near its end, unless it was sized for the whole running batch, so that the batch is what is full."""
    cache = stage.kv_cache
    return cache is not None and not case.result.facts.kv_holds_all_sequences and cache.used_ratio_peak >= NEAR_FULL_RATIO


def _queues_in_triton(stage: StageResult) -> bool:
    batch = stage.triton_batching
    if batch is None or batch.compute_mean_ns is None or batch.queue_mean_ns is None or batch.executions < LEAST_EXECUTIONS:
        return False
    return batch.queue_mean_ns > batch.compute_mean_ns


def _batch_limit(case: Case, stage: StageResult) -> int | None:
    """The most requests that the engines run together."""
    facts = case.result.facts
    if facts.max_sequences:
        return facts.max_sequences * facts.engines
    return stage.inflight.limit if stage.inflight else None
