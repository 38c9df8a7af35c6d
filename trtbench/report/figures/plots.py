"""The figures of a report. Files that import matplotlib are imported only when something is drawn."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.summary import Summary
from trtbench.experiments.registry import roles
from trtbench.report.figures.round_curves import paint_latencies, paint_rates
from trtbench.report.figures.timeline_figure import paint_timeline
from trtbench.report.kit.canvas import COLOURS, INK, LATENCY_AXES, ExperimentFigure, Painter, new_panels, with_legend
from trtbench.report.kit.grouping import in_rounds, shown
from trtbench.report.kit.words import Words

_CJK_FONTS = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "trtbench",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.18,
    "grid.color": INK,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "axes.unicode_minus": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
_NS_PER_MS = 1e6
_BATCH_TICKS = 16


@dataclass(frozen=True)
class Drawing:
    """One figure with its name. `svg` has no fixed size, and its ids differ from those of other drawings."""

    name: str
    svg: str
    png: bytes


def draw(summary: Summary, words: Words) -> dict[str, Drawing]:
    """Every figure that the run has data for."""
    return drawn(partial(_painters, summary), words)


def drawn(painters: Callable[[Words], Mapping[str, Painter]], words: Words) -> dict[str, Drawing]:
    """The figures of these painters. Without a CJK font, axes in Chinese are labelled in English."""
    font = _cjk_font() if words.language == "zh" else None
    labels = words if words.language == "en" or font else Words("en", words.task.name)
    fonts: dict[Any, Any] = {"font.family": [font, "DejaVu Sans"] if font else ["DejaVu Sans"]}
    with matplotlib.rc_context({**_STYLE, **fonts}):
        painted = {name: figure for name, paint in painters(labels).items() if (figure := paint()) is not None}
        return {name: _drawing(name, figure) for name, figure in painted.items()}


def _painters(summary: Summary, words: Words) -> Mapping[str, Painter]:
    painters: dict[str, Painter] = {
        "throughput": partial(_throughput, summary, words),
        "latency": partial(_latency, summary, words, closed=True),
        "latency_rate": partial(_latency, summary, words, closed=False),
        "distributions": partial(_distributions, summary, words),
        "batches": partial(_batches, summary, words),
    }
    painters |= {f"timeline-{result.name}": partial(_timeline, result, words) for result in shown(summary)}
    for role in roles(ExperimentFigure):
        painters |= role.painters(summary, words)
    return painters


def _cjk_font() -> str | None:
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    return next((name for name in _CJK_FONTS if name in installed), None)


def _drawing(name: str, figure: Figure) -> Drawing:
    """The figure in both formats. Its layout, which takes a third of the time, is computed once for both."""
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # keeps where the layout placed everything
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=144, facecolor="white")
    return Drawing(name, _svg(name, figure), png.getvalue())


def _svg(name: str, figure: Figure) -> str:
    svg = io.StringIO()
    figure.savefig(svg, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = svg.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1)
    return re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{name}-", text)


def _throughput(summary: Summary, words: Words) -> Figure | None:
    figure, (axes,) = new_panels(1)
    paint_rates(axes, in_rounds(summary), words.task.headline_rate)
    for colour, result in _of_one_round(summary):
        levels = [(stage.level, getattr(stage.throughput, words.task.headline_rate)) for stage in _levels(result, True)]
        points = sorted((x, y) for x, y in levels if y)
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=colour, label=result.name, markersize=4)
        if points and result.knee and result.knee.level is not None and result.knee.throughput is not None:
            axes.plot(result.knee.level, result.knee.throughput, "o", color=colour, markersize=11, markerfacecolor="none")
    return _finish(figure, [axes], words("axis.users"), [words("axis.tokens")])


def _latency(summary: Summary, words: Words, closed: bool) -> Figure | None:
    shown = {name: LATENCY_AXES[name] for name in words.task.latencies}
    figure, panels = new_panels(len(shown))
    paint_latencies(dict(zip(shown, panels, strict=True)), in_rounds(summary), closed)
    for colour, result in _of_one_round(summary):
        stages = sorted(_levels(result, closed), key=lambda stage: stage.level)
        for axes, pick in zip(panels, shown, strict=True):
            found = [(stage.level, getattr(stage.latency, pick)) for stage in stages]
            _line(axes, [(level, values.p50) for level, values in found], "o-", colour, result.name)
            _line(axes, [(level, values.p99) for level, values in found], "o--", colour, f"{result.name} P99")
            _ends(axes, found, colour, f"{result.name} P99 ≥")
    across = words("axis.users" if closed else "axis.rate")
    return _finish(figure, panels, across, [words(axis) for axis in shown.values()])


def _line(axes: Axes, points: list[tuple[float, float | None]], line: str, colour: str, label: str) -> None:
    known = [(x, y / _NS_PER_MS) for x, y in points if y is not None]
    if known:
        axes.plot(*zip(*known, strict=True), line, color=colour, label=label, markersize=4)


def _ends(axes: Axes, found: Sequence[tuple[float, Distribution]], colour: str, label: str) -> None:
    """The 95 % interval of each P99 as a bar; of a P99 without a value its lower bound, as an open triangle."""
    for level, values in found:
        lower, upper = values.intervals.get("p99", (None, None))
        if lower is not None and upper is not None:
            axes.vlines(level, lower / _NS_PER_MS, upper / _NS_PER_MS, color=colour, alpha=0.4, linewidth=3)
    bounds = [(x, lower / _NS_PER_MS) for x, v in found if v.p99 is None and (lower := v.intervals.get("p99", (None,))[0]) is not None]
    if bounds:
        axes.plot(*zip(*bounds, strict=True), "^:", color=colour, label=label, markersize=6, markerfacecolor="none", linewidth=0.8)


def _distributions(summary: Summary, words: Words) -> Figure | None:
    shown_by = {f"{name}_curve_ns": f"axis.{name}_ms" for name in words.task.curves}
    figure, panels = new_panels(len(shown_by))
    for colour, result in _coloured(summary):
        stages = sorted(_levels(result, True), key=lambda stage: stage.level)
        shown = [stages[i] for i in sorted({0, len(stages) // 2, len(stages) - 1})] if stages else []
        for position, stage in enumerate(shown):
            strength = (position + 1) / len(shown)
            label = f"{result.name}, {words('legend.users', users=stage.level)}"
            for axes, name in zip(panels, shown_by, strict=True):
                if curve := getattr(stage.latency, name):
                    share = [(i + 1) / len(curve) for i in range(len(curve))]
                    axes.plot([value / _NS_PER_MS for value in curve], share, color=colour, alpha=0.25 + 0.75 * strength, label=label)
    for axes, name in zip(panels, shown_by.values(), strict=True):
        axes.set_xlabel(words(name))
        axes.set_ylim(0, 1)
        axes.set_xlim(left=0)
    panels[0].set_ylabel(words("axis.share"))
    return with_legend(figure, panels)


def _batches(summary: Summary, words: Words) -> Figure | None:
    """The panels of batches, the engine's first; a batcher without readings has no panel."""
    axes_of = {"axis.step_batch": True, "axis.batch": False}
    found = {
        name: [(colour, r.name, shares) for colour, r in _coloured(summary) if (shares := _shares_of(r, inflight))]
        for name, inflight in axes_of.items()
    }
    shown = {name: groups for name, groups in found.items() if groups}
    if not shown:
        return None
    figure, panels = new_panels(len(shown), 2.6)
    for axes, (name, groups) in zip(panels, shown.items(), strict=True):
        _paint_shares(axes, groups)
        axes.set_xlabel(words(name))
        axes.set_ylabel(words("axis.inferences"))
    return with_legend(figure, panels)


def _timeline(result: DeploymentResult, words: Words) -> Figure | None:
    if not result.stages or not (result.kv_used_blocks.time_ns or result.running.time_ns):
        return None
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    paint_timeline(figure, result, words, COLOURS, INK)
    return figure


def _finish(figure: Figure, panels: Sequence[Axes], across: str, up: Sequence[str]) -> Figure | None:
    """The figure with axes and legend, or None if no line has two levels of load, because a single point shows no trend."""
    if not any(len(set(np.asarray(line.get_xdata(), float).tolist())) > 1 for axes in panels for line in axes.lines):
        return None
    for axes, label in zip(panels, up, strict=True):
        levels = sorted({x for line in axes.lines for x in np.asarray(line.get_xdata(), float).tolist()})
        if levels and levels[-1] / max(levels[0], 1e-9) >= 16:
            axes.set_xscale("log", base=2)
        if len(levels) <= 8:
            axes.set_xticks(levels, [f"{level:g}" for level in levels])
            axes.minorticks_off()
        axes.set_xlabel(across)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
    return with_legend(figure, panels)


def _coloured(summary: Summary) -> list[tuple[str, DeploymentResult]]:
    return [(COLOURS[i % len(COLOURS)], result) for i, result in enumerate(shown(summary))]


def _of_one_round(summary: Summary) -> list[tuple[str, DeploymentResult]]:
    """None of a repeated load, whose curves are over its rounds."""
    return [] if in_rounds(summary) else _coloured(summary)


def _levels(result: DeploymentResult, closed: bool) -> list[StageResult]:
    """The stages that are points of a curve."""
    return [stage for stage in result.stages if stage.is_closed_loop is closed and stage.held_level]


def _shares_of(result: DeploymentResult, inflight: bool) -> dict[int, float]:
    """Shares of requests by batch size at the highest closed-loop load that has them; {} if none has."""
    stages = [stage for stage in result.stages if stage.is_closed_loop and stage.held_level]
    found = {stage.level: shares for stage in stages if (shares := _inflight_shares(stage) if inflight else _triton_shares(stage))}
    return found[max(found)] if found else {}


def _inflight_shares(stage: StageResult) -> dict[int, float]:
    return stage.inflight.request_shares if stage.inflight else {}


def _triton_shares(stage: StageResult) -> dict[int, float]:
    histogram = stage.triton_batching.histogram if stage.triton_batching else {}
    total = sum(size * count for size, count in histogram.items())
    return {size: size * count / total for size, count in histogram.items()}


def _paint_shares(axes: Axes, shares: Sequence[tuple[str, str, Mapping[int, float]]]) -> None:
    """Paint a group of bars for each size. `shares`: (colour, label, {size: share})."""
    sizes = sorted({size for *_, share in shares for size in share})
    width = 0.8 / max(len(shares), 1)
    for i, (colour, name, share) in enumerate(shares):
        offset = (i - (len(shares) - 1) / 2) * width
        axes.bar([x + offset for x in range(len(sizes))], [share.get(s, 0.0) for s in sizes], width * 0.92, color=colour, label=name)
    step = -(-len(sizes) // _BATCH_TICKS) or 1
    axes.set_xticks(range(0, len(sizes), step), [str(size) for size in sizes[::step]])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="x", visible=False)
