"""The two batchers in tables: first what the engine ran together, then how requests entered the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtbench.analysis.summary import DeploymentResult, InflightBatching, StageResult, Summary
from trtbench.report.blocks import Block, Paragraph, Table
from trtbench.report.format import NONE, ms, number, percent, whole
from trtbench.report.words import Words

_INFLIGHT = ("stage", "steps", "step_batch", "seen_batch", "in_company", "waiting_mean", "waiting_max", "limit", "by_requests")
_TRITON = ("stage", "inferences", "executions", "batch_hit", "mean_batch", "fill", "queue", "histogram")


def batching_tables(summary: Summary, words: Words) -> list[Block]:
    measured = [result for result in summary.deployments if result.stages]
    tables: list[Block] = []
    for result in measured:
        tables += _inflight(result, summary.scenario.telemetry.interval_ms, words)
    for result in measured:
        rows = tuple(_triton_row(stage) for stage in result.stages if stage.triton_batching)
        if rows:
            caption = words("batching.triton", deployment=result.name)
            tables.append(Table(tuple(words(f"col.{column}") for column in _TRITON), rows, caption))
    return [*_lead(measured, words), *tables] if tables else []


def _lead(results: Sequence[DeploymentResult], words: Words) -> list[Block]:
    """Which of the two tells, and whether Triton's batcher formed batches in this run."""
    batches = [stage.triton_batching for result in results for stage in result.stages if stage.triton_batching]
    inferences, executions = sum(batch.inferences for batch in batches), sum(batch.executions for batch in batches)
    together = sum(size * count for batch in batches for size, count in batch.histogram.items() if size >= 2)
    blocks: list[Block] = [Paragraph(words("batching.lead"))]
    if inferences:
        structural = any(result.provider == "tensorrt_llm" for result in results)
        key = "batching.together" if together else "batching.one_by_design" if structural else "batching.one_each"
        figures = {"inferences": whole(inferences), "executions": whole(executions), "together": whole(together)}
        blocks.append(Paragraph(words(key, **figures)))
    return blocks


def _inflight(result: DeploymentResult, interval_ms: int, words: Words) -> list[Block]:
    stages = [(stage.span.name, stage.inflight) for stage in result.stages if stage.inflight]
    if not stages:
        return []
    exact = all(batch.exact for _, batch in stages)
    caption = words("batching.counted" if exact else "batching.sampled", deployment=result.name, interval=interval_ms)
    rows = tuple((name, *_inflight_row(batch)) for name, batch in stages)
    note = words("batching.counted_note" if exact else "batching.sampled_note", interval=interval_ms)
    return [Table(tuple(words(f"col.{column}") for column in _INFLIGHT), rows, caption, note)]


def _inflight_row(batch: InflightBatching) -> tuple[str, ...]:
    figures = (whole(sum(batch.steps.values())), number(batch.mean_batch), number(batch.seen_batch), percent(batch.in_company_ratio))
    waiting = (number(batch.waiting.mean), whole(batch.waiting.max)) if batch.waiting else (NONE, NONE)
    return (*figures, *waiting, whole(batch.limit), by_requests(batch.request_shares))


def by_requests(shares: Mapping[int, float]) -> str:
    """The histogram weighted by requests, in bins of 1, 2, 3-4, 5-8 and on: a row has room for six, not for sixty."""
    binned: dict[str, float] = {}
    for size, share in shares.items():
        upper = 1 << (size - 1).bit_length()
        label = str(size) if size <= 2 else f"{upper // 2 + 1}–{upper}"
        binned[label] = binned.get(label, 0.0) + share
    return " · ".join(f"{label}: {percent(share)}" for label, share in binned.items()) or NONE


def _triton_row(stage: StageResult) -> tuple[str, ...]:
    batch = stage.triton_batching
    assert batch is not None
    histogram = " · ".join(f"{batch_size}: {whole(count)}" for batch_size, count in batch.histogram.items()) or NONE
    figures = (whole(batch.inferences), whole(batch.executions), percent(batch.batch_hit_ratio), number(batch.mean_batch))
    return (stage.span.name, *figures, percent(batch.fill_ratio), ms(batch.queue_mean_ns), histogram)
