"""The figure of a search for the capacity: the share of requests within each limit over the load, with the requested share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.experiments.capacity.bracketing import Verdict
from trtbench.experiments.capacity.capacity_found import CAPACITY, CapacityFound
from trtbench.report.kit.canvas import COLOURS, INK, ExperimentFigure, Painter, new_panels, with_legend
from trtbench.report.kit.grouping import shown
from trtbench.report.kit.words import Words

_MARKERS: dict[Verdict, str] = {"holds": "o", "breaks": "x", "undecided": "D", "unusable": "s"}
_LOG_FROM = 8  # the largest over the smallest load
_SPREAD = 0.012  # between the clauses of one probe, so that their intervals do not cover each other


def paint_capacity(axes: Axes, found: CapacityFound, words: Words, colours: Sequence[str], line: str) -> None:
    """Paint a mark with its interval for each probe and clause, the requested share of each clause, and the band of the capacity."""
    for place, clause in enumerate(found.slo):
        colour = colours[place % len(colours)]
        asked = 1 - _allowed_ratio(clause)
        axes.axhline(asked, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
        for probe in found.probes:
            one = next((one for one in probe.clauses if one.clause == clause), None)
            if one is None or one.kept_ratio is None:
                continue
            spread = ([one.kept_ratio - one.kept_low_ratio], [one.kept_high_ratio - one.kept_ratio])
            errors = [[max(0.0, side[0])] for side in spread]
            level = probe.level * (1 + place * _SPREAD)
            fmt = _MARKERS[probe.verdict]
            axes.errorbar(level, one.kept_ratio, errors, fmt=fmt, color=colour, markersize=5, elinewidth=0.8, label=clause)
    bracket = found.outcome.bracket
    if bracket.holds is not None and bracket.breaks is not None:
        axes.axvspan(bracket.holds, bracket.breaks, color=line, alpha=0.1, linewidth=0, label=words("legend.capacity"))
    _scales(axes, found, words)


def _allowed_ratio(clause: str) -> float:
    """The share that may break a clause, from its text, which ends in p and the percentile."""
    return 1 - float(clause.rpartition(",p")[2]) / 100


def _scales(axes: Axes, found: CapacityFound, words: Words) -> None:
    levels = [probe.level for probe in found.probes]
    if max(levels) >= _LOG_FROM * min(levels):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel(words("axis.users" if found.by == "concurrency" else "axis.rate"))
    axes.set_ylabel(words("axis.within_limit"))


def _capacity(result: DeploymentResult, found: CapacityFound, words: Words) -> Figure | None:
    figure, panels = new_panels(1, 3.4)
    paint_capacity(panels[0], found, words, COLOURS, INK)
    return with_legend(figure, panels)


def _painters(summary: Summary, words: Words) -> dict[str, Painter]:
    searched = [(result, found) for result in shown(summary) if (found := result.found[CAPACITY]) and found.probes]
    return {f"capacity-{result.name}": partial(_capacity, result, found, words) for result, found in searched}


FIGURE = ExperimentFigure(_painters)
