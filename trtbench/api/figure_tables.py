"""The tables of a run's figures: of each deployment and stage, and over the rounds of the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from trtbench.analysis.measured_rounds import MeasuredInRounds, measured_in_rounds
from trtbench.analysis.named_figures import named_figures
from trtbench.analysis.summary import Summary

_COLUMNS = ("cell", "dtype", "stage", "figure", "unit")


def figure_table(summary: Summary) -> pd.DataFrame:
    """One row for each figure of each stage in each whole round, by which rounds can be compared as pairs."""
    rows = [row for one in measured_in_rounds(summary.deployments, summary.scenario) for row in _values(one)]
    table: pd.DataFrame = pd.DataFrame(rows, columns=[*_COLUMNS, "deployment", "round", "value"])
    return table


def estimate_table(summary: Summary) -> pd.DataFrame:
    """One row for each figure of each stage over the rounds, if every round has the figure."""
    rows = [row for one in measured_in_rounds(summary.deployments, summary.scenario) for row in _estimates(one)]
    table: pd.DataFrame = pd.DataFrame(rows, columns=[*_COLUMNS, "rounds", "mean", "half_width"])
    return table


def _values(one: MeasuredInRounds) -> Iterator[tuple[Any, ...]]:
    for number, result in one.rounds.items():
        for stage in result.stages:
            for name, figure in named_figures().items():
                value = figure.value(stage)
                if value is not None:
                    yield (one.cell, one.dtype, stage.span.name, name, _unit(figure.unit), result.name, number, float(value))


def _estimates(one: MeasuredInRounds) -> Iterator[tuple[Any, ...]]:
    for stage in one.stages:
        for name, figure in named_figures().items():
            if found := one.estimate(stage, figure):
                yield (one.cell, one.dtype, stage, name, _unit(figure.unit), found.count, found.mean, found.half_width)


def _unit(printed: str) -> str:
    """The unit of the value. The report prints nanoseconds as milliseconds."""
    return "ns" if printed == "ms" else printed
