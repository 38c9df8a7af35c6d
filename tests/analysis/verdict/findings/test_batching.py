"""What Triton's batcher does and should do, and what one instance leaves idle."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.finding_rules import Change, batching, first_answers_late, found, idle_behind_a_queue
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.summary import Summary
from trtbench.scenario.load.measurement import Slo


@pytest.mark.parametrize(
    ("change", "delay_us", "expected"),
    [
        (batching(0.01), 0, "batches_without_delay"),
        (batching(0.01), 5000, "never_batches"),
        (batching(0.01, running=6.0), 5000, "batcher_unused"),
        (batching(0.01, running=1.0), 0, "batches_without_delay"),
        (batching(0.4), 0, None),
    ],
)
def test_why_the_batcher_forms_no_batches(summary: Summary, change: Change, delay_us: int, expected: str | None) -> None:
    codes = found(summary, change, dynamic_batching={"max_queue_delay_us": delay_us})
    assert codes.keys() & {"batches_without_delay", "never_batches", "batcher_unused"} == ({expected} if expected else set())


@pytest.mark.parametrize(
    ("hit", "delay_us", "queue_ms", "expected"),
    [(0.9, 50_000, 45, True), (0.3, 50_000, 45, False), (0.9, 50_000, 400, False), (0.9, 50_000, 1, False), (0.9, 1_000, 1, False)],
    ids=["too long", "few are batched", "a queue of another cause", "nobody waits", "a short delay"],
)
def test_a_delay_that_breaks_the_slo(summary: Summary, hit: float, delay_us: int, queue_ms: int, expected: bool) -> None:
    summary = replace(summary, scenario=summary.scenario.model_copy(update={"slo": Slo(ttft_ms=100)}))

    def late(stage: StageResult) -> StageResult:
        return batching(hit, queue_mean_ns=queue_ms * 1_000_000)(first_answers_late(stage))

    delay = {"max_queue_delay_us": delay_us}
    assert ("delay_too_long" in found(summary, late, dynamic_batching=delay)) is expected
    kept = replace(summary, scenario=summary.scenario.model_copy(update={"slo": Slo(ttft_ms=500)}))
    assert "delay_too_long" not in found(kept, late, dynamic_batching=delay)


@pytest.mark.parametrize(
    ("used", "instances", "queue_ns", "expected"), [(0.4, 1, 9, True), (0.8, 1, 9, False), (0.4, 2, 9, False), (0.4, 1, 1, False)]
)
def test_one_instance_that_leaves_its_gpu_idle(summary: Summary, used: float, instances: int, queue_ns: int, expected: bool) -> None:
    def queued(stage: StageResult) -> StageResult:
        return idle_behind_a_queue(stage, used, queue_ns)

    assert ("one_instance" in found(summary, queued, instances=instances, servers=1)) is expected
