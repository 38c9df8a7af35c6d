"""The result of a batching grid: figures of each cell, the cells on a frontier, the winner if there is one, and heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.found import Key
from trtbench.analysis.stage.latency import Percentile, percentile_of
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.verdict.verdict import Doubt, Place
from trtbench.experiments.grid.cell import LATENCIES, Cell, Figure, cell_of, figure_by, with_pareto
from trtbench.experiments.grid.race import SLO_KEPT_RATIO, Drop, score
from trtbench.experiments.grid.spec import Grid
from trtbench.rundir.events import every
from trtbench.rundir.experiment_events import RaceDecided
from trtbench.rundir.records import Event
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.scenario import Scenario

FRONTIERS: Key[tuple[Frontier, ...]] = Key("frontiers")


@dataclass(frozen=True, slots=True)
class Winner:
    """The cell with the highest mean of `figure`. `clear`: it is better than every other by the differences in each round; None with
    one repeat or a single cell.

    `rivals` are the candidates whose difference to the winner has a 95 % interval that includes zero. `second` is the next best cell, in
    a search also among those that were dropped as worse. `difference` is the winner's figure minus the second's, over the rounds of
    both, and `margin_ratio` is that divided by the mean of the second. None without a second.
    """

    cell: str
    figure: Figure
    second: str | None
    difference: Estimate | None
    margin_ratio: float | None
    clear: bool | None
    rivals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """The number of runs of one engine in the whole grid, and the number that the search needed."""

    planned: int
    spent: int


@dataclass(frozen=True, slots=True)
class Frontier:
    """The cells of one stage on one engine. `percentiles`: the percentile of each latency, P99 only if every repeat of every cell has
    it.

    `winner` is None if no complete cell keeps the SLO, or if none is complete. `search` is None for a full grid.
    """

    stage: str
    dtype: str
    cells: tuple[Cell, ...]
    percentiles: dict[str, Percentile]
    winner: Winner | None
    search: Spent | None = None
    rests_on: tuple[Place, ...] = ()  # the stage on every deployment that was compared
    doubts: tuple[Doubt, ...] = ()  # of the verdict, against any of these


def frontiers(results: Sequence[DeploymentResult], scenario: Scenario, events: Sequence[Event] = ()) -> tuple[Frontier, ...]:
    """A frontier for each stage and engine; () for a scenario without a grid, and for an external server. `events` have the decisions
    of a search.
    """
    grid, found = scenario.grid, scenario.cells
    served = [result for result in results if result.facts.deployment in scenario.deployments]
    if grid is None or found is None or not served:
        return ()
    names = tuple(found.cells)
    return tuple(
        _frontier(stage.label, dtype, names, [result for result in served if result.facts.dtype == dtype], scenario, grid, events)
        for dtype in scenario.engines
        for stage in scenario.load
    )


def _frontier(
    label: str,
    dtype: str,
    names: Sequence[str],
    results: Sequence[DeploymentResult],
    scenario: Scenario,
    grid: Grid,
    events: Sequence[Event],
) -> Frontier:
    rounds: dict[str, dict[int, StageResult]] = {name: {} for name in names}
    served = dict.fromkeys(names, 0)
    for result in results:
        cell, stage = grid.cell_of(result.facts.deployment), result.stage(label)
        served[cell] += 1
        if stage is not None and stage.supports_rates:
            rounds[cell][grid.round_of(result.facts.deployment)] = stage
    every = [stage for of_cell in rounds.values() for stage in of_cell.values()]
    percentiles = {latency: percentile_of([stage.latency for stage in every], latency) for latency in LATENCIES}
    drops = _drops(events, dtype, label)
    cells = []
    for name, of_cell in rounds.items():
        figures = {r: figure for r, stage in sorted(of_cell.items()) if (figure := score(stage, scenario).figure) is not None}
        asked = _rounds_asked(name, served, drops) if grid.search else grid.repeats
        cells.append(cell_of(name, list(of_cell.values()), percentiles, asked, figures, drops.get(name)))
    spent = Spent(len(names) * grid.repeats, len(results)) if grid.search else None
    places = tuple((result.name, label) for result in results)
    return Frontier(label, dtype, with_pareto(cells), percentiles, winner(cells), spent, places)


def _rounds_asked(name: str, served: Mapping[str, int], drops: Mapping[str, Drop]) -> int:
    """The number of rounds that a search expects of a cell: its own if the cell was dropped or is the last one left, otherwise the most
    of those left.
    """
    left = [cell for cell in served if cell not in drops]
    over = name in drops or len(left) == 1
    return max(1, served[name] if over else max(served[cell] for cell in left))


def _drops(events: Sequence[Event], dtype: str, stage: str) -> dict[str, Drop]:
    """The cells that the last decision about this engine dropped."""
    decided = [decision.drops for decision in every(events, RaceDecided) if decision.dtype == dtype]
    return {row.cell: Drop.of(row) for row in decided[-1].get(stage, ())} if decided else {}


def winner(cells: Sequence[Cell]) -> Winner | None:
    """The winner with its margin, or None if no cell can win."""
    figure = figure_by(cells)
    candidates = [cell for cell in cells if cell.drop is None and _may_win(cell, figure)]
    if not candidates:
        return None
    best, *others = sorted(candidates, key=lambda cell: -_mean(cell, figure))
    worse = [cell for cell in cells if cell.drop is not None and cell.drop.why == "below"]
    second = max(others or worse, key=lambda cell: _mean(cell, figure), default=None)
    ahead = {cell.name: _difference(best, cell) for cell in others}
    unknown = any(found is None or found.half_width is None for found in ahead.values())
    rivals = tuple(name for name, found in ahead.items() if found and found.half_width is not None and found.mean <= found.half_width)
    difference = _difference(best, second) if second else None
    of_second = [second.by_round[r] for r in second.by_round if r in best.by_round] if second else []
    return Winner(
        cell=best.name,
        figure=figure,
        second=second.name if second else None,
        difference=difference,
        margin_ratio=difference.mean / fmean(of_second) if difference and of_second and fmean(of_second) else None,
        clear=None if unknown or second is None else not rivals,
        rivals=rivals,
    )


def _may_win(cell: Cell, figure: Figure) -> bool:
    known = getattr(cell, figure) is not None and cell.complete
    return known and (figure != "goodput" or (cell.within_slo_ratio or 0.0) >= SLO_KEPT_RATIO)


def _mean(cell: Cell, figure: Figure) -> float:
    estimate: Estimate | None = getattr(cell, figure)
    return estimate.mean if estimate else 0.0


def _difference(best: Cell, other: Cell) -> Estimate | None:
    """The difference of two cells by round, so that a drift between rounds cancels."""
    return Estimate.of(best.by_round[r] - other.by_round[r] for r in best.by_round if r in other.by_round)


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A grid over two of its axes: for each pair of values the best cell over all other axes.

    `cells[row][column]`: by `row_axis` and `column_axis`, the cell with the highest mean of `figure`; None if none was measured.

    `over`: the other axes with more than one value, over which it is the best; empty for a grid of two axes. Values are written as in a
    cell's name.
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
    """A heat map for each pair of axes with more than one value. `deployments` are by cell."""
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
