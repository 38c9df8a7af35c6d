"""Tables of the two batchers: first what the engine executed together, then how requests entered the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.metrics import CLASS_METRICS, METRICS
from trtbench.analysis.stage.batching import TritonBatching
from trtbench.analysis.stage.by_length_class import LengthClassResult
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Paragraph, Table
from trtbench.report.kit.columns import Cell, columns_of
from trtbench.report.kit.format import NONE, percent, whole
from trtbench.report.kit.grouping import is_many
from trtbench.report.kit.words import Words


def batching_tables(summary: Summary, words: Words) -> list[Block]:
    """A table of each batcher per deployment, or one table per batcher if there are many deployments."""
    measured = [result for result in summary.deployments if result.stages]
    many, interval_ms = is_many(summary), summary.scenario.telemetry.interval_ms
    groups = [measured] if many else [[result] for result in measured]
    inflight = [table for group in groups for table in _inflight(group, many, interval_ms, words)]
    triton = [table for group in groups for table in _triton(group, many, words)]
    return [*_lead(measured, summary.scenario.workload.tensors.batch_size, words), *inflight, *triton] if inflight or triton else []


def _lead(results: Sequence[DeploymentResult], items: int, words: Words) -> list[Block]:
    """A sentence that says which of the two batchers matters, and whether Triton's batcher formed batches of several requests in this run.

    `items`: the inferences of one request.
    """
    batches = [stage.triton_batching for result in results for stage in result.stages if stage.triton_batching]
    inferences, executions = sum(batch.inferences for batch in batches), sum(batch.executions for batch in batches)
    together = sum(size * count for batch in batches for size, count in batch.histogram.items() if size > items)
    blocks: list[Block] = [Paragraph(words("batching.lead"))]
    if inferences:
        structural = any(result.facts.traits.triton_batches_are_one for result in results)
        key = "batching.together" if together else "batching.one_by_design" if structural else "batching.one_each"
        figures = {"inferences": whole(inferences), "executions": whole(executions), "together": whole(together)}
        blocks.append(Paragraph(words(key, **figures)))
    return blocks


def _inflight(results: Sequence[DeploymentResult], many: bool, interval_ms: int, words: Words) -> list[Block]:
    batches = [stage.inflight for result in results for stage in result.stages if stage.inflight]
    kind = "counted" if all(batch.exact for batch in batches) else "sampled"
    caption = words(f"batching.{kind}", deployment=_named(results, many, words), interval=interval_ms)
    columns = {**columns_of("inflight", METRICS, words.task), "by_requests": _by_requests}
    note = words(f"batching.{kind}_note", interval=interval_ms)
    return [_table(columns, results, lambda stage: bool(stage.inflight), caption, note, many, words)] if batches else []


def _triton(results: Sequence[DeploymentResult], many: bool, words: Words) -> list[Block]:
    columns = {**columns_of("triton", METRICS, words.task), "histogram": lambda stage: _histogram(stage.triton_batching)}
    caption = words("batching.triton", deployment=_named(results, many, words))
    table = _table(columns, results, lambda stage: bool(stage.triton_batching), caption, "", many, words)
    return [table] if table.rows else []


def class_tables(summary: Summary, words: Words) -> list[Block]:
    """The length classes of each deployment that has them."""
    columns: dict[str, Cell[LengthClassResult]] = columns_of("classes", CLASS_METRICS, words.task)
    columns["histogram"] = lambda one: _histogram(one.triton_batching)
    blocks: list[Block] = []
    for result in summary.deployments:
        found = [(stage.span.name, name, one) for stage in result.stages for name, one in (stage.length_classes or {}).items()]
        if found:
            rows = tuple((stage, name, *(cell(one) for cell in columns.values())) for stage, name, one in found)
            note = words("classes.apart" if any(one.model for one in result.facts.length_classes) else "classes.one_size")
            caption = words("classes.caption", deployment=result.name)
            blocks.append(Table(words.header("stage", "length_class", *columns), rows, caption, note, labels=2))
    return blocks


def _named(results: Sequence[DeploymentResult], many: bool, words: Words) -> str:
    return words("section.deployments") if many else results[0].name


def _table(
    columns: Mapping[str, Cell[StageResult]],
    results: Sequence[DeploymentResult],
    has_row: Callable[[StageResult], bool],
    caption: str,
    note: str,
    many: bool,
    words: Words,
) -> Table:
    """A table whose rows name the deployment only if it has several."""
    skip = 0 if many else 1
    stages = [(result.name, stage) for result in results for stage in result.stages if has_row(stage)]
    rows = tuple((name, stage.span.name, *(cell(stage) for cell in columns.values()))[skip:] for name, stage in stages)
    return Table(words.header("deployment", "stage", *columns)[skip:], rows, caption, note, labels=2 - skip)


def _by_requests(stage: StageResult) -> str:
    return by_requests(stage.inflight.request_shares) if stage.inflight else NONE


def by_requests(shares: Mapping[int, float]) -> str:
    """The histogram weighted by requests, in the bins 1, 2, 3-4, 5-8 and so on, because a row has space for six bins."""
    binned: dict[str, float] = {}
    for size, share in shares.items():
        upper = 1 << (size - 1).bit_length()
        label = str(size) if size <= 2 else f"{upper // 2 + 1}–{upper}"
        binned[label] = binned.get(label, 0.0) + share
    return " · ".join(f"{label}: {percent(share)}" for label, share in binned.items()) or NONE


def _histogram(batching: TritonBatching | None) -> str:
    histogram = batching.histogram if batching else {}
    return " · ".join(f"{batch_size}: {whole(count)}" for batch_size, count in histogram.items()) or NONE
