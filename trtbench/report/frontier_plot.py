"""The figure of a batching grid: throughput against TTFT."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from trtbench.analysis.summary import Cell, Frontier

_NS_PER_MS = 1e6
_GREY = "#9aa0a6"


def paint_frontier(axes: Axes, frontier: Frontier, colours: Sequence[str], line: str) -> None:
    """One point a cell, with its intervals; `line` is the colour of the frontier. Draws nothing where no cell has both figures."""
    on_line: list[tuple[float, float]] = []
    many = len(frontier.cells) > len(colours)
    for i, cell in enumerate(frontier.cells):
        tokens, ttft = cell.output_token_throughput, cell.ttft_ns
        if tokens is None or ttft is None:
            continue
        at = (ttft.mean / _NS_PER_MS, tokens.mean)
        wide = (ttft.half_width or 0.0) / _NS_PER_MS
        grey = many and not cell.pareto  # of many cells only those of the frontier can be told apart
        colour, label = (_GREY, None) if grey else (colours[len(on_line) % len(colours) if many else i], _label(cell))
        axes.errorbar(*at, tokens.half_width or 0.0, wide, "o", color=colour, label=label, markersize=5, elinewidth=0.8)
        on_line += [at] if cell.pareto else []
    if len(on_line) > 1:
        axes.plot(*zip(*sorted(on_line), strict=True), "-", color=line, linewidth=1, alpha=0.6, zorder=1)


def _label(cell: Cell) -> str:
    return cell.name if cell.complete else f"{cell.name} ({cell.repeats})"
