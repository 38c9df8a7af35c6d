"""The figure of a response cache: throughput and hit ratio over the share of requests that repeat an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from trtbench.analysis.summary import Summary
from trtbench.experiments.response_cache.gain import CACHE_GAINS, CacheGain, StageGain
from trtbench.report.kit.canvas import COLOURS, ExperimentFigure, Painter
from trtbench.report.kit.words import Words


def cache_figure(pairs: Sequence[CacheGain], words: Words, colours: Sequence[str]) -> Figure | None:
    """The figure, or None if no closed loop was measured both with and without a cache."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    panels = figure.subplots(1, 2)
    paint_cache(panels, pairs, words("legend.servable"), colours)
    for axes, up in zip(panels, ("axis.requests_rate", "axis.hit_ratio"), strict=True):
        axes.set_xlabel(words("axis.repeats"))
        axes.set_ylabel(words(up))
    named = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=3)
    return figure if named else None


def paint_cache(panels: Sequence[Axes], pairs: Sequence[CacheGain], ideal: str, colours: Sequence[str]) -> None:
    """Paint the throughput without and with the cache on the left, and on the right the hit ratio and, dotted and named `ideal`, the
    ratio that could be answered.

    A line joins closed-loop stages of one number of users.
    """
    left, right = panels
    drawn: dict[str, str] = {}
    for pair in pairs:
        for level in sorted({stage.level for stage in pair.stages if stage.closed}):
            points = [stage for stage in pair.stages if stage.closed and stage.level == level and stage.repeat_ratio is not None]
            points.sort(key=lambda stage: stage.repeat_ratio or 0.0)
            for name, with_cache in ((f"{pair.off}-{pair.dtype}, {level:g}", False), (f"{pair.on}-{pair.dtype}, {level:g}", True)):
                if name not in drawn:
                    drawn[name] = colours[len(drawn) % len(colours)]
                    _rates(left, points, with_cache, name, drawn[name])
            _ratios(right, points, drawn[f"{pair.on}-{pair.dtype}, {level:g}"], ideal)
    left.set_ylim(bottom=0)
    for axis in (left.xaxis, right.xaxis, right.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def _rates(axes: Axes, points: Sequence[StageGain], with_cache: bool, label: str, colour: str) -> None:
    rates = [stage.rate_on if with_cache else stage.rate_off for stage in points]
    across = [stage.repeat_ratio or 0.0 for stage in points]
    wide = [rate.half_width or 0.0 for rate in rates]
    axes.errorbar(across, [rate.mean for rate in rates], wide, fmt="o-", color=colour, label=label, markersize=4, elinewidth=0.8, capsize=2)


def _ratios(axes: Axes, points: Sequence[StageGain], colour: str, ideal: str) -> None:
    across = [stage.repeat_ratio or 0.0 for stage in points]
    axes.plot(across, [stage.hit_ratio or 0.0 for stage in points], "o-", color=colour, markersize=4)
    axes.plot(across, [stage.servable_ratio or 0.0 for stage in points], ":", color=colour, label=ideal)
    axes.set_ylim(0, 1)


def _painters(summary: Summary, words: Words) -> dict[str, Painter]:
    gains = summary.found[CACHE_GAINS]
    return {"response_cache": partial(cache_figure, gains, words, COLOURS)}


FIGURE = ExperimentFigure(_painters)
