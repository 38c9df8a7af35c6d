"""The figures of a batching grid: throughput against a latency, and heat maps of the deciding figure and the latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.summary import Summary
from trtbench.experiments.grid.cell import LATENCIES, Cell
from trtbench.experiments.grid.frontier import FRONTIERS, Frontier, HeatMap, figure_of
from trtbench.experiments.grid.report import drawing_of, heats, star
from trtbench.report.kit.canvas import (
    COLOURS,
    INK,
    LATENCY_AXES,
    ExperimentFigure,
    Painter,
    new_panels,
    rate_axis,
    with_legend,
)
from trtbench.report.kit.format import NONE, ms, number
from trtbench.report.kit.words import Words

_NS_PER_MS = 1e6
_GREY = "#9aa0a6"
_DARK = 0.55  # of the colour scale: from here on the numbers are white
_MAPS = ("Blues", "Oranges")
_ON_LIGHT = "#10151a"  # not the ink that a dark page turns light: the fields stay as they are


def paint_frontier(axes: Axes, frontier: Frontier, latency: str, colours: Sequence[str], line: str) -> None:
    """Paint a point for each cell with its intervals, and the frontier in the colour `line`; nothing if no cell has both figures.

    If there are more cells than colours, those on no frontier are grey.
    """
    on_line: list[tuple[float, float]] = []
    coloured = [cell.name for cell in frontier.cells if cell.pareto or len(frontier.cells) <= len(colours)]
    for cell in frontier.cells:
        tokens: Estimate | None = cell.rate
        low: Estimate | None = getattr(cell, latency)
        if tokens is None or low is None:
            continue
        at, wide = (low.mean / _NS_PER_MS, tokens.mean), (low.half_width or 0.0) / _NS_PER_MS
        named = cell.name in coloured
        colour, label = (colours[coloured.index(cell.name) % len(colours)], _label(cell)) if named else (_GREY, None)
        axes.errorbar(*at, tokens.half_width or 0.0, wide, "o", color=colour, label=label, markersize=5, elinewidth=0.8)
        on_line += [at] if cell.pareto and latency in cell.pareto else []
    if len(on_line) > 1:
        axes.plot(*zip(*sorted(on_line), strict=True), "-", color=line, linewidth=1, alpha=0.6, zorder=1)
    axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))  # an interval of few rounds reaches below zero, no latency does
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))


def _label(cell: Cell) -> str:
    return cell.name if cell.complete else f"{cell.name} ({cell.repeats})"


def paint_heat(panels: Sequence[Axes], heat: HeatMap, frontier: Frontier, words: Words) -> None:
    """Paint a heat map into two panels."""

    def latency(cell: Cell) -> float | None:
        return cell.e2e_latency_ns.mean if cell.e2e_latency_ns else None

    titles = (words(f"frontier.{heat.figure}"), f"{words('axis.e2e_ms')} {frontier.percentiles['e2e_latency_ns'].upper()}")
    _paint(panels[0], heat, frontier, lambda cell: figure_of(cell, heat.figure), number, titles[0], _MAPS[0])
    _paint(panels[1], heat, frontier, latency, ms, titles[1], _MAPS[1])


def _paint(
    axes: Axes,
    heat: HeatMap,
    frontier: Frontier,
    pick: Callable[[Cell], float | None],
    shown: Callable[[float | None], str],
    title: str,
    colours: str,
) -> None:
    values = np.array([[np.nan if cell is None or (v := pick(cell)) is None else v for cell in row] for row in heat.cells], float)
    low, high = (float(f(values)) if np.isfinite(values).any() else 0.0 for f in (np.nanmin, np.nanmax))
    axes.imshow(values, cmap=colours, aspect="auto", vmin=low - 0.3 * (high - low or 1.0), vmax=high)
    for r, row in enumerate(heat.cells):
        for c, cell in enumerate(row):
            value = float(values[r, c])
            known = cell is not None and np.isfinite(value)
            text = f"{shown(value)}{star(cell, frontier)}" if cell is not None and known else NONE
            dark = known and (value - low) / (high - low or 1.0) > _DARK
            axes.text(c, r, text, ha="center", va="center", fontsize=9, color="#ffffff" if dark else _ON_LIGHT if known else None)
    axes.set_xticks(range(len(heat.columns)), heat.columns)
    axes.set_yticks(range(len(heat.rows)), heat.rows)
    axes.set_xlabel(heat.column_axis)
    axes.set_ylabel(heat.row_axis)
    axes.set_title(title)
    axes.grid(visible=False)


def _frontier(summary: Summary, words: Words) -> Figure | None:
    """Draw a row for each engine, at the last stage of load, with a panel for each latency."""
    last = list({frontier.dtype: frontier for frontier in summary.found[FRONTIERS]}.values())
    if not last:
        return None
    shown = [latency for latency in LATENCIES if any(getattr(cell, latency) for frontier in last for cell in frontier.cells)]
    figure = Figure(figsize=(7.2, 2.9 * len(last)), layout="constrained")
    rows = figure.subplots(len(last), max(len(shown), 1), sharey="row", squeeze=False)
    for frontier, panels in zip(last, rows, strict=True):
        for axes, latency in zip(panels, shown, strict=False):
            paint_frontier(axes, frontier, latency, COLOURS, INK)
            axes.set_xlabel(f"{words(LATENCY_AXES[latency])} {frontier.percentiles[latency].upper()}")
        panels[0].set_title(f"{frontier.dtype}, {frontier.stage}", loc="left")
        panels[0].set_ylabel(words(rate_axis(cell.output_token_throughput for cell in frontier.cells)))
    return with_legend(figure, [axes for panels in rows for axes in panels])


def _heat(heat: HeatMap, frontier: Frontier, words: Words) -> Figure:
    figure, panels = new_panels(2, 0.9 + 0.42 * max(len(heat.rows), 3))
    paint_heat(panels, heat, frontier, words)
    return figure


def _painters(summary: Summary, words: Words) -> dict[str, Painter]:
    return {
        "frontier": partial(_frontier, summary, words),
        **{drawing_of(heat): partial(_heat, heat, frontier, words) for frontier, heat in heats(summary)},
    }


FIGURE = ExperimentFigure(_painters)
