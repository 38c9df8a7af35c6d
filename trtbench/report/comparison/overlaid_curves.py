"""Latency curves of both runs of a comparison in one figure: a colour for each pair of stages, the base dashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trtbench.compare.compared_runs import Comparison
from trtbench.report.figures.plots import Drawing, drawn
from trtbench.report.kit.canvas import COLOURS, Painter, new_panels, with_legend
from trtbench.report.kit.words import Words

_NS_PER_MS = 1e6
_MOST_PAIRS = 6
"""More pairs of curves in one panel cannot be distinguished."""


def overlaid_curves(compared: Sequence[Comparison], words: Words) -> dict[str, Drawing]:
    """A figure for each comparison with records of requests, by the name `curves-NUMBER`."""

    def painters(labels: Words) -> Mapping[str, Painter]:
        return {f"curves-{number}": partial(_paint, one, labels) for number, one in enumerate(compared)}

    return drawn(painters, words)


def _paint(comparison: Comparison, words: Words) -> Figure | None:
    shown = {f"{name}_curve_ns": f"axis.{name}_ms" for name in words.task.curves}
    figure, panels = new_panels(len(shown))
    pairs = islice(((pair.name, pair.stages(load)[0]) for pair in comparison.pairs for load in pair.loads()), _MOST_PAIRS)
    for colour, (name, stages) in zip(COLOURS, pairs, strict=False):
        for axes, curve in zip(panels, shown, strict=True):
            _line(axes, getattr(stages.base.latency, curve), "--", colour, "")
            _line(axes, getattr(stages.candidate.latency, curve), "-", colour, f"{name} {stages.candidate.span.name}")
    for axes, label in zip(panels, shown.values(), strict=True):
        axes.set_xlabel(words(label))
        axes.set_ylim(0, 1)
        axes.set_xlim(left=0)
    panels[0].set_ylabel(words("axis.share"))
    return with_legend(figure, panels)


def _line(axes: Axes, curve_ns: Sequence[float], style: str, colour: str, label: str) -> None:
    if curve_ns:
        share = [(i + 1) / len(curve_ns) for i in range(len(curve_ns))]
        axes.plot([value / _NS_PER_MS for value in curve_ns], share, style, color=colour, label=label or None)
