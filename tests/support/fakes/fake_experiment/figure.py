"""The figure of the experiment that counts requests."""

from __future__ import annotations

from matplotlib.figure import Figure

from tests.support.fakes.fake_experiment.analysis import TOTAL
from trtbench.analysis.summary import Summary
from trtbench.report.kit.canvas import ExperimentFigure, new_panels


def _paint(summary: Summary) -> Figure:
    figure, (axes,) = new_panels(1)
    axes.plot([0, 1], [0, summary.found[TOTAL]])
    return figure


FIGURE = ExperimentFigure(lambda summary, _: {"counted": lambda: _paint(summary)})
