"""A finding on the step of load at which latency rises most, with what rose together with it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from trtbench.analysis.deployment_result import curve_stages
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings.memory_limits import waits_for_pages
from trtbench.analysis.verdict.findings.queueing import kv_is_full
from trtbench.analysis.verdict.findings.rule import Case

STEP_RATIO = 0.5
"""The rise of the mean latency from one level to the next that is a step."""
_QUEUE_SHARE = 0.5


def latency_step(case: Case) -> Iterator[Finding]:
    """From one closed-loop level to the next the mean latency rises by 50 % or more. The largest such step is explained: by memory that is
    not there, by a full KV cache or preempted requests, or by queues, if they account for half of the rise.
    """
    stages = sorted(curve_stages(case.result.stages), key=lambda stage: stage.level)
    steps = [(rise, before, after) for before, after in pairwise(stages) if (rise := _rise(before, after)) is not None]
    rise, before, after = max(steps, key=lambda step: step[0], default=(0.0, None, None))
    if before is None or after is None or rise < STEP_RATIO:
        return
    cause = _cause(case, before, after)
    if cause:
        name = case.result.name
        figures = {"gain_ratio": rise, "from_users": before.level, "to_users": after.level, **_evidence(before, after)}
        places = ((name, before.span.name), (name, after.span.name))
        yield Finding(f"step_{cause}", "info", name, after.span.name, figures=figures, rests_on=places)


def _rise(before: StageResult, after: StageResult) -> float | None:
    first, last = before.latency.e2e_latency_ns.mean, after.latency.e2e_latency_ns.mean
    return last / first - 1 if first and last else None


def _cause(case: Case, before: StageResult, after: StageResult) -> str | None:
    if waits_for_pages(after) and not waits_for_pages(before):
        return "memory"
    if preempted(after) > preempted(before) or (kv_is_full(case, after) and not kv_is_full(case, before)):
        return "kv"
    first, last = before.latency.e2e_latency_ns.mean, after.latency.e2e_latency_ns.mean
    queued = (queue_ns(before), queue_ns(after))
    if first is None or last is None or queued[0] is None or queued[1] is None:
        return None
    return "queue" if queued[1] - queued[0] >= _QUEUE_SHARE * (last - first) else None


def _evidence(before: StageResult, after: StageResult) -> dict[str, float | str]:
    first, last, cache = queue_ns(before), queue_ns(after), after.kv_cache
    faults, pages = after.resources.server_major_faults_per_s, after.resources.swapped_in_pages_per_s
    return {
        "queue_before_ns": "-" if first is None else first,
        "queue_after_ns": "-" if last is None else last,
        "preempted": preempted(after),
        "peak_ratio": cache.used_ratio_peak if cache else "-",
        "faults_per_s": "-" if faults is None else faults,
        "pages_per_s": "-" if pages is None else pages,
    }


def queue_ns(stage: StageResult) -> float | None:
    """Mean time of a request in the queues of Triton and of the engine; None if neither is reported."""
    parts = stage.waterfall
    if parts is not None:
        return (parts.triton_queue_ns or 0) + (parts.engine_queue_ns or 0)
    return stage.triton_batching.queue_mean_ns if stage.triton_batching else None


def preempted(stage: StageResult) -> float:
    """Preemptions that the engine counted, or the most requests that were paused at once; 0 if neither is reported."""
    times, batch = stage.engine_times, stage.inflight
    counted = times.preemptions if times and times.preemptions is not None else None
    return counted if counted is not None else batch.paused.max if batch and batch.paused else 0
