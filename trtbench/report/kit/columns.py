"""Columns and rows of tables, made from declared metrics: those that the task has, with cells in the metric's unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from trtbench.analysis.metric import Column, Metric, Unit
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.stats.percentile import Distribution
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.format import (
    NONE,
    about,
    estimate,
    marked,
    ms,
    number,
    percent,
    size,
    statistic,
    statistic_over_rounds,
    whole,
    with_half_width,
)
from trtbench.report.kit.words import Words
from trtbench.tasks.task import Task

S = TypeVar("S")
Cell = Callable[[S], str]
FORMATS: Mapping[Unit, Callable[[float | None], str]] = {
    "count": whole,
    "ratio": percent,
    "ms": ms,
    "bytes": size,
    "bytes/token": whole,
    "J": whole,
    "MHz": whole,
    "°C": whole,
}
"""The printer of values of each unit; `number` prints values of other units."""


def columns_of(table: str, metrics: Iterable[Metric[S]], task: Task) -> dict[str, Cell[S]]:
    """The cells of each column that the metrics have in this table, by the column's name, without columns that the task does not have."""
    cells = {column.name: partial(_certain, metric, column) for metric in metrics for column in metric.columns if table in column.tables}
    return {name: cells[name] for name in task.shown(table, cells)}


def chosen(table: str, names: Sequence[str], metrics: Iterable[Metric[S]], task: Task) -> dict[str, Cell[S]]:
    """The named columns from any tables, in the form of `columns_of`."""
    cells = {column.name: partial(_cell, metric, column) for metric in metrics for column in metric.columns}
    return {name: cells[name] for name in task.shown(table, names)}


def columns_over_rounds(table: str, metrics: Iterable[Metric[S]], task: Task) -> dict[str, Cell[Sequence[S]]]:
    """The cells of `columns_of` for the same S of several rounds: the mean over them with its interval."""
    cells = {column.name: partial(_cell_over, metric, column) for metric in metrics for column in metric.columns if table in column.tables}
    return {name: cells[name] for name in task.shown(table, cells)}


def chosen_over_rounds(table: str, names: Sequence[str], metrics: Iterable[Metric[S]], task: Task) -> dict[str, Cell[Sequence[S]]]:
    """The named columns from any tables, in the form of `columns_over_rounds`."""
    cells = {column.name: partial(_cell_over, metric, column) for metric in metrics for column in metric.columns}
    return {name: cells[name] for name in task.shown(table, names)}


def rows_of(table: str, metrics: Iterable[Metric[S]], task: Task) -> list[Metric[S]]:
    """The metrics that have a row of their own in this table."""
    rows = {metric.name: metric for metric in metrics if table in metric.row}
    return [rows[name] for name in task.shown(table, rows)]


def stage_table(
    columns: Mapping[str, Cell[StageResult]], stages: Iterable[StageResult], words: Words, caption: str, note: str = "", labels: int = 1
) -> Table:
    """A table with a row for each stage, which begins with the stage's name."""
    rows = tuple((stage_name(stage), *(cell(stage) for cell in columns.values())) for stage in stages)
    return Table(words.header("stage", *columns), rows, caption, note, labels)


def printer(metric: Metric[S]) -> Callable[[float | None], str]:
    return FORMATS.get(metric.unit, number)


def stage_name(stage: StageResult) -> str:
    return marked(stage.span.name, stage.uncertainty.changed)


def _certain(metric: Metric[S], column: Column, source: S) -> str:
    """The cell, with half the width of its interval if the metric has one."""
    text = _cell(metric, column, source)
    if metric.half_width is None or column.unit is not None:
        return text
    return with_half_width(text, metric.half_width(source), FORMATS.get(metric.unit, number))


def _cell(metric: Metric[S], column: Column, source: S) -> str:
    value = metric.value(source) if metric.value else None
    if value is None:
        return NONE
    if metric.is_estimate:
        return about(value, metric.is_estimate(source))
    shown = FORMATS.get(metric.unit if column.unit is None else column.unit, number)
    if isinstance(value, Distribution):
        return " / ".join(statistic(value, part, shown) for part in column.parts)
    values = [getattr(value, part) for part in column.parts] if column.parts else value if isinstance(value, tuple) else [value]
    return NONE if all(one is None for one in values) else " / ".join(map(shown, values))


def _cell_over(metric: Metric[S], column: Column, rounds: Sequence[S]) -> str:
    values = [metric.value(one) for one in rounds] if metric.value else []
    if not values or any(value is None for value in values):
        return NONE
    shown = FORMATS.get(metric.unit if column.unit is None else column.unit, number)
    if isinstance(values[0], Distribution):
        return " / ".join(statistic_over_rounds(values, part, shown) for part in column.parts)
    parts = [_parts(value, column) for value in values]
    found = [Estimate.over(of_part, lambda value: value) for of_part in zip(*parts, strict=False)]
    if not any(found):
        return NONE
    text = " / ".join(estimate(one, shown) for one in found)
    return f"≈ {text}" if metric.is_estimate and any(map(metric.is_estimate, rounds)) else text


def _parts(value: Any, column: Column) -> tuple[float | None, ...]:
    """The numbers that a cell prints."""
    if column.parts:
        return tuple(getattr(value, part) for part in column.parts)
    return value if isinstance(value, tuple) else (value,)
