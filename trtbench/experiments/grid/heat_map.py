"""A grid seen over two of its axes: of each pair of values the best cell, whatever the other axes are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from trtbench.analysis.stats.estimate import Estimate
from trtbench.experiments.grid.cell import Cell, Figure, figure_by
from trtbench.experiments.grid.frontier import Frontier
from trtbench.experiments.grid.spec import Grid
from trtbench.scenario.deployment.deployment import Deployment


@dataclass(frozen=True, slots=True)
class HeatMap:
    """`cells[row][column]`: by `row_axis` and `column_axis`, the one with the highest mean of `figure`; None where none was measured.

    `over`: the axes, of more than one value, that it is the best over; empty for a grid of two. Values are written as in a cell's name.
    """

    stage: str
    dtype: str
    row_axis: str
    column_axis: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    over: tuple[str, ...]
    figure: Figure


def heat_maps(frontier: Frontier, grid: Grid, deployments: Mapping[str, Deployment]) -> tuple[HeatMap, ...]:
    """One for each pair of axes with more than one value; `deployments` by cell."""
    axes = [axis for axis, values in grid.axes.items() if len(values) > 1]
    figure = figure_by(frontier.cells)
    places = {cell.name: grid.values_of(deployments[cell.name]) for cell in frontier.cells}
    return tuple(_map(frontier, grid, places, row, column, axes, figure) for row, column in combinations(axes, 2))


def _map(
    frontier: Frontier, grid: Grid, places: Mapping[str, Mapping[str, str]], row: str, column: str, axes: list[str], figure: Figure
) -> HeatMap:
    rows, columns = grid.labels_of(row), grid.labels_of(column)
    best: dict[tuple[str, str], Cell] = {}
    for cell in frontier.cells:
        place = (places[cell.name][row], places[cell.name][column])
        if figure_of(cell, figure) is not None and _beats(cell, best.get(place), figure):
            best[place] = cell
    return HeatMap(
        stage=frontier.stage,
        dtype=frontier.dtype,
        row_axis=row,
        column_axis=column,
        rows=rows,
        columns=columns,
        cells=tuple(tuple(best.get((r, c)) for c in columns) for r in rows),
        over=tuple(axis for axis in axes if axis not in (row, column)),
        figure=figure,
    )


def figure_of(cell: Cell, figure: Figure) -> float | None:
    estimate: Estimate | None = getattr(cell, figure)
    return estimate.mean if estimate else None


def _beats(cell: Cell, other: Cell | None, figure: Figure) -> bool:
    return other is None or (figure_of(cell, figure) or 0.0) > (figure_of(other, figure) or 0.0)
