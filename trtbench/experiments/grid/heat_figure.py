"""A heat map of a grid: the figure that decides beside the latency that it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from trtbench.experiments.grid.cell import Cell
from trtbench.experiments.grid.frontier import Frontier
from trtbench.experiments.grid.heat_map import HeatMap, figure_of
from trtbench.experiments.grid.heat_report import star
from trtbench.report.kit.format import NONE, ms, number
from trtbench.report.kit.words import Words

_DARK = 0.55  # of the colour scale: from here on the numbers are white
_MAPS = ("Blues", "Oranges")
_ON_LIGHT = "#10151a"  # not the ink that a dark page turns light: the fields stay as they are


def paint_heat(panels: Sequence[Axes], heat: HeatMap, frontier: Frontier, words: Words) -> None:
    """Into two panels."""

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
