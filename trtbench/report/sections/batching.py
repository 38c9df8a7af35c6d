"""The two batchers in tables: first what the engine ran together, then how requests entered the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtbench.analysis.deployments import DeploymentResult
from trtbench.analysis.stage.batching import InflightBatching
from trtbench.analysis.stage.stage import StageResult
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Paragraph, Table
from trtbench.report.kit.format import NONE, ms, number, percent, whole
from trtbench.report.kit.grouping import is_many
from trtbench.report.kit.words import Words

_INFLIGHT = ("stage", "steps", "step_batch", "seen_batch", "in_company", "waiting_mean", "waiting_max", "limit", "by_requests")
_TRITON = ("stage", "inferences", "executions", "batch_hit", "mean_batch", "fill", "queue", "compute", "padding", "histogram")


def batching_tables(summary: Summary, words: Words) -> list[Block]:
    """A table of each kind a deployment; of many deployments one for all."""
    measured = [result for result in summary.deployments if result.stages]
    many, interval_ms = is_many(summary), summary.scenario.telemetry.interval_ms
    groups = [measured] if many else [[result] for result in measured]
    inflight = [table for group in groups for table in _inflight(group, many, interval_ms, words)]
    triton = [table for group in groups for table in _triton(group, many, words)]
    return [*_lead(measured, words), *inflight, *triton] if inflight or triton else []


def _lead(results: Sequence[DeploymentResult], words: Words) -> list[Block]:
    """Which of the two tells, and whether Triton's batcher formed batches in this run."""
    batches = [stage.triton_batching for result in results for stage in result.stages if stage.triton_batching]
    inferences, executions = sum(batch.inferences for batch in batches), sum(batch.executions for batch in batches)
    together = sum(size * count for batch in batches for size, count in batch.histogram.items() if size >= 2)
    blocks: list[Block] = [Paragraph(words("batching.lead"))]
    if inferences:
        structural = any(result.facts.traits.triton_batches_are_one for result in results)
        key = "batching.together" if together else "batching.one_by_design" if structural else "batching.one_each"
        figures = {"inferences": whole(inferences), "executions": whole(executions), "together": whole(together)}
        blocks.append(Paragraph(words(key, **figures)))
    return blocks


def _inflight(results: Sequence[DeploymentResult], many: bool, interval_ms: int, words: Words) -> list[Block]:
    stages = [(result.name, stage.span.name, stage.inflight) for result in results for stage in result.stages if stage.inflight]
    if not stages:
        return []
    exact = all(batch.exact for *_, batch in stages)
    caption = words("batching.counted" if exact else "batching.sampled", deployment=_named(results, many, words), interval=interval_ms)
    rows = tuple((name, stage, *_inflight_row(batch)) for name, stage, batch in stages)
    return [
        _table(
            _INFLIGHT,
            rows,
            caption,
            words("batching.counted_note" if exact else "batching.sampled_note", interval=interval_ms),
            many,
            words,
        )
    ]


def _triton(results: Sequence[DeploymentResult], many: bool, words: Words) -> list[Block]:
    columns = words.task.shown("batching", _TRITON)
    found = [(result.name, _triton_row(stage)) for result in results for stage in result.stages if stage.triton_batching]
    rows = tuple((name, *(cells[column] for column in columns)) for name, cells in found)
    return [_table(columns, rows, words("batching.triton", deployment=_named(results, many, words)), "", many, words)] if rows else []


def _named(results: Sequence[DeploymentResult], many: bool, words: Words) -> str:
    return words("section.deployments") if many else results[0].name


def _table(columns: Sequence[str], rows: tuple[tuple[str, ...], ...], caption: str, note: str, many: bool, words: Words) -> Table:
    """`rows` begin with the deployment, which a table of one alone does not show."""
    header = words.header("deployment", *columns)
    skip = 0 if many else 1
    return Table(header[skip:], tuple(row[skip:] for row in rows), caption, note, labels=2 - skip)


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


def _triton_row(stage: StageResult) -> dict[str, str]:
    batch = stage.triton_batching
    assert batch is not None
    histogram = " · ".join(f"{batch_size}: {whole(count)}" for batch_size, count in batch.histogram.items()) or NONE
    figures = (whole(batch.inferences), whole(batch.executions), percent(batch.batch_hit_ratio), number(batch.mean_batch))
    times = (ms(batch.queue_mean_ns), ms(batch.compute_mean_ns))
    cells = (stage.span.name, *figures, percent(batch.fill_ratio), *times, percent(stage.padding_ratio), histogram)
    return dict(zip(_TRITON, cells, strict=True))
