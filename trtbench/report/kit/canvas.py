"""What all figures share (colours, panels, axes, one legend), and what an experiment adds to the figures.

Ink is drawn in one marked colour: PNG shows it as near-black on white, HTML replaces it by the page's text colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.summary import Summary
from trtbench.experiments.registry import Role
from trtbench.report.kit.words import Words

INK = "#1b1f24"
COLOURS = ("#2f7fd6", "#e07b00", "#1a9e77", "#c2417c", "#8566c9", "#a08000", "#5f8f2f", "#b5533c")
"""Colours that are distinguishable on white and on dark, and, in this order, with the most common colour blindness."""
LATENCY_AXES = {"ttft_ns": "axis.ttft_ms", "itl_ns": "axis.itl_ms", "e2e_latency_ns": "axis.e2e_ms"}

Painter = Callable[[], Figure | None]
"""A function that paints one figure and returns None if there is nothing to show."""


@dataclass(frozen=True)
class ExperimentFigure(Role):
    """The object `FIGURE` in `figure.py` of an experiment. `painters`: functions by the names of their drawings."""

    MODULE: ClassVar[str] = "figure"

    painters: Callable[[Summary, Words], Mapping[str, Painter]]


def new_panels(count: int, height_in: float = 3.0) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(7.2, height_in), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def with_legend(figure: Figure, panels: Sequence[Axes]) -> Figure | None:
    """The figure with one legend under all panels; None if nothing was drawn."""
    entries = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if not entries:
        return None
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=2 if len(entries) <= 4 else 3)
    return figure


def rate_axis(tokens: Iterable[Estimate | None]) -> str:
    """The label of a rate's axis: requests if tokens are not counted."""
    return "axis.tokens" if any(tokens) else "axis.requests_rate"
