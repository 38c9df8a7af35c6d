"""The figure of a batching grid: throughput against a latency."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from trtbench.analysis.stats.estimate import Estimate
from trtbench.experiments.grid.cell import Cell
from trtbench.experiments.grid.frontier import Frontier

_NS_PER_MS = 1e6
_GREY = "#9aa0a6"


def paint_frontier(axes: Axes, frontier: Frontier, latency: str, colours: Sequence[str], line: str) -> None:
    """One point a cell, with its intervals; `line` is the colour of the frontier. Draws nothing where no cell has both figures.

    Of more cells than colours, those that lie on no frontier are grey.
    """
    on_line: list[tuple[float, float]] = []
    told_apart = [cell.name for cell in frontier.cells if cell.pareto or len(frontier.cells) <= len(colours)]
    for cell in frontier.cells:
        tokens: Estimate | None = cell.rate
        low: Estimate | None = getattr(cell, latency)
        if tokens is None or low is None:
            continue
        at, wide = (low.mean / _NS_PER_MS, tokens.mean), (low.half_width or 0.0) / _NS_PER_MS
        named = cell.name in told_apart
        colour, label = (colours[told_apart.index(cell.name) % len(colours)], _label(cell)) if named else (_GREY, None)
        axes.errorbar(*at, tokens.half_width or 0.0, wide, "o", color=colour, label=label, markersize=5, elinewidth=0.8)
        on_line += [at] if cell.pareto and latency in cell.pareto else []
    if len(on_line) > 1:
        axes.plot(*zip(*sorted(on_line), strict=True), "-", color=line, linewidth=1, alpha=0.6, zorder=1)
    axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))  # an interval of few rounds reaches below zero, no latency does
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))


def _label(cell: Cell) -> str:
    return cell.name if cell.complete else f"{cell.name} ({cell.repeats})"
