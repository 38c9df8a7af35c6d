"""Heat maps of a grid as tables, and what the painted ones are called and say."""

from __future__ import annotations

from trtbench.analysis.summary import Summary
from trtbench.experiments.grid.cell import Cell
from trtbench.experiments.grid.frontier import FRONTIERS, Frontier
from trtbench.experiments.grid.heat_map import HeatMap, figure_of, heat_maps
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.format import NONE, ms, number
from trtbench.report.kit.words import Words

WINNER = "★"


def drawing_of(heat: HeatMap) -> str:
    return f"heat-{heat.dtype}-{heat.stage}-{heat.row_axis}-{heat.column_axis}"


def heats(summary: Summary) -> list[tuple[Frontier, HeatMap]]:
    """At the last stage of load of each engine; the other stages have their tables."""
    grid, found = summary.scenario.grid, summary.scenario.cells
    if grid is None or found is None or not summary.found[FRONTIERS]:
        return []
    last = {frontier.dtype: frontier for frontier in summary.found[FRONTIERS]}
    return [(frontier, heat) for frontier in last.values() for heat in heat_maps(frontier, grid, found.cells)]


def heat_table(heat: HeatMap, frontier: Frontier, words: Words, folded: bool) -> Table:
    """The figure that decides, and below it the E2E latency of the same cell."""
    header = (f"{heat.row_axis} \\ {heat.column_axis}", *heat.columns)
    rows = tuple((label, *(_entry(cell, heat, frontier) for cell in cells)) for label, cells in zip(heat.rows, heat.cells, strict=True))
    return Table(header, rows, caption(heat, frontier, words), note(heat, words), folded=folded)


def caption(heat: HeatMap, frontier: Frontier, words: Words) -> str:
    at = frontier.percentiles["e2e_latency_ns"].upper()
    return words("frontier.heat", dtype=heat.dtype, stage=heat.stage, figure=words(f"frontier.{heat.figure}"), e2e_at=at)


def note(heat: HeatMap, words: Words) -> str:
    """Which axes the best was taken over; "" of a grid of two axes."""
    return words("frontier.heat_over", axes=words.listed(heat.over)) if heat.over else ""


def star(cell: Cell, frontier: Frontier) -> str:
    return f" {WINNER}" if frontier.winner and frontier.winner.cell == cell.name else ""


def _entry(cell: Cell | None, heat: HeatMap, frontier: Frontier) -> str:
    if cell is None:
        return NONE
    latency = cell.e2e_latency_ns.mean if cell.e2e_latency_ns else None
    return f"{number(figure_of(cell, heat.figure))} / {ms(latency)} ms{star(cell, frontier)}"
