"""Tables of a repeated load: each stage once, with the mean of each figure over the rounds and its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trtbench.analysis.measured_rounds import MeasuredInRounds
from trtbench.analysis.metric import Metric
from trtbench.analysis.metrics import METRICS
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Paragraph, Table
from trtbench.report.kit.columns import Cell, chosen_over_rounds, columns_over_rounds, printer, rows_of
from trtbench.report.kit.format import NONE, statistic_over_rounds
from trtbench.report.kit.grouping import in_rounds, key_figures
from trtbench.report.kit.words import Words

Stages = Sequence[StageResult]
_TABLES = {
    "throughput": ("throughput", "drafts"),
    "latency": ("waterfall", "engine_times"),
    "batching": ("inflight", "triton"),
    "kv": ("kv", "reuse_ratio"),
    "resources": ("resources",),
    "client": ("client",),
}
"""The tables of declared metrics (analysis/metrics.py) that each section shows over the rounds."""
_PARTS = ("mean", "p50", "p90", "p95", "p99")


def core_of_rounds(summary: Summary, words: Words) -> list[Block]:
    """The key figures: a table for each deployment, then how the intervals are made."""
    columns = chosen_over_rounds("core", key_figures(summary), METRICS, words.task)
    found = in_rounds(summary)
    tables = [table for one in found if (table := _table(one, columns, words, _caption(one, words)))]
    return [*tables, Paragraph(words("rounds.note"))] if tables else [Paragraph(words("rounds.none"))]


def rows_of_rounds(summary: Summary, words: Words) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(Header, rows) of the key figures over all deployments, for a terminal."""
    columns = chosen_over_rounds("core", key_figures(summary), METRICS, words.task)
    header = (words("col.deployment"), words("col.stage"), *words.header(*columns))
    return header, [(one.name, *row) for one in in_rounds(summary) for row in _rows(one, columns)]


def tables_over_rounds(summary: Summary, words: Words) -> dict[str, list[Block]]:
    """The tables of each section of details. A table without a figure is left out."""
    found: dict[str, list[Block]] = {section: [] for section in ("latency", *_TABLES)}
    for one in in_rounds(summary):
        found["latency"] += _latencies(one, words)
        for section, tables in _TABLES.items():
            for name in tables:
                columns = columns_over_rounds(name, METRICS, words.task)
                table = _table(one, columns, words, words(f"rounds.{name}", deployment=one.name))
                found[section] += [table] if table else []
    return found


def _caption(one: MeasuredInRounds, words: Words) -> str:
    return words("rounds.caption", deployment=one.name, count=len(one.rounds))


def _table(one: MeasuredInRounds, columns: dict[str, Cell[Stages]], words: Words, caption: str) -> Table | None:
    """None if no round has any of these figures."""
    rows = tuple(_rows(one, columns))
    if all(cell == NONE for row in rows for cell in row[1:]):
        return None
    return Table(words.header("stage", *columns), rows, caption)


def _rows(one: MeasuredInRounds, columns: dict[str, Cell[Stages]]) -> Iterator[tuple[str, ...]]:
    for name in one.stages:
        rounds = one.stage(name)
        yield (name, *(cell(rounds) for cell in columns.values()))


def _latencies(one: MeasuredInRounds, words: Words) -> list[Block]:
    metrics = rows_of("latency", METRICS, words.task)
    rows = [_latency(name, one.stage(name), metric) for name in one.stages for metric in metrics]
    shown = tuple(row for row in rows if set(row[2:]) != {NONE})
    header = (*words.header("stage", "metric", "mean"), *(part.upper() for part in _PARTS[1:]))
    return [Table(header, shown, words("rounds.latency", deployment=one.name), labels=2)] if shown else []


def _latency(stage: str, rounds: Stages, metric: Metric[StageResult]) -> tuple[str, ...]:
    assert metric.value
    values: list[Distribution] = [metric.value(one) or Distribution.of(()) for one in rounds]
    return (stage, metric.name, *(statistic_over_rounds(values, part, printer(metric)) for part in _PARTS))
