"""The figure of scaling: throughput over units with the linear line and the fitted law, and efficiency."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from trtbench.analysis.summary import Summary
from trtbench.experiments.scaling.scaling_curve import SCALINGS, ScalingCurve
from trtbench.report.kit.canvas import COLOURS, INK, ExperimentFigure, Painter, new_panels, rate_axis, with_legend
from trtbench.report.kit.words import Words


def paint_scaling(panels: Sequence[Axes], curves: Sequence[ScalingCurve], labels: Sequence[str], colours: Sequence[str], line: str) -> None:
    """Paint the throughput on the left, and the efficiency with its limit on the right; nothing for a curve without figures."""
    left, right = panels
    for i, curve in enumerate(curves):
        colour = colours[i % len(colours)]
        _throughput(left, curve, labels[i], colour)
        known = [(point.units, point.efficiency) for point in curve.points if point.efficiency]
        if known:
            units, values = zip(*known, strict=True)
            means, wide = [value.mean for value in values], [value.half_width or 0.0 for value in values]
            right.errorbar(units, means, wide, fmt="o-", color=colour, markersize=4, elinewidth=0.8, capsize=2)
            right.axhline(curve.bound_ratio, color=line, linewidth=0.8, linestyle=":")
    for axes in panels:
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _throughput(axes: Axes, curve: ScalingCurve, label: str, colour: str) -> None:
    known = [(point.units, point.rate) for point in curve.points if point.rate]
    if not known:
        return
    units, values = zip(*known, strict=True)
    means, wide = [value.mean for value in values], [value.half_width or 0.0 for value in values]
    axes.errorbar(units, means, wide, fmt="o-", color=colour, label=label, markersize=4, elinewidth=0.8, capsize=2)
    axes.plot([units[0], units[-1]], [means[0], means[0] * units[-1] / units[0]], "--", color=colour, linewidth=0.8, alpha=0.7)
    if curve.law:
        across = np.linspace(units[0], units[-1], 100)
        axes.plot(across, [curve.law.at(float(n)) for n in across], "-", color=colour, linewidth=2.5, alpha=0.25)


def _scaling(summary: Summary, words: Words) -> Figure | None:
    """Draw a curve for each axis and engine, at the last stage of load."""
    last = list({(curve.axis, curve.dtype): curve for curve in summary.found[SCALINGS]}.values())
    figure, panels = new_panels(2, 3.4)
    paint_scaling(panels, last, [f"{words(f'scaling.axis_{curve.axis}')}, {curve.dtype}" for curve in last], COLOURS, INK)
    tokens = rate_axis(point.output_token_throughput for curve in last for point in curve.points)
    for axes, up in zip(panels, (tokens, "axis.efficiency"), strict=True):
        axes.set_xlabel(words("axis.units"))
        axes.set_ylabel(words(up))
    return with_legend(figure, panels)


def _painters(summary: Summary, words: Words) -> dict[str, Painter]:
    return {"scaling": partial(_scaling, summary, words)}


FIGURE = ExperimentFigure(_painters)
