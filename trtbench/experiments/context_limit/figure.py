"""The figure of a search for the context limit: the cost of a prompt by its length, the limit, and the failures beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.experiments.context_limit.context_limits import CONTEXT_LIMITS, ContextLimits, CostFigure, Growth
from trtbench.experiments.context_limit.trials import TrialResult
from trtbench.report.kit.canvas import COLOURS, INK, ExperimentFigure, Painter
from trtbench.report.kit.format import number
from trtbench.report.kit.grouping import shown
from trtbench.report.kit.words import Words

_UNITS: dict[CostFigure, float] = {
    "ttft_ns": 1e6,
    "kv_used_blocks_peak": 1,
    "server_rss_bytes_peak": 2**30,
    "gpu_memory_bytes_peak": 2**30,
}
"""Units of the axes: ms, blocks, GiB."""
_MEMORY: tuple[CostFigure, ...] = ("server_rss_bytes_peak", "gpu_memory_bytes_peak")
_MARKERS = ("x", "v", "s", "D", "P", "*", "^", "<", ">", "h", "p", "d", "X", "H", "8")  # one a class of failure
_LOG_FROM = 8  # the longest over the shortest length
_FIT_POINTS = 40


def paint_limit(figure: Figure, result: DeploymentResult, limits: ContextLimits, words: Words, colours: Sequence[str], line: str) -> bool:
    """Paint TTFT above and the other costs below, with a line for each number of users. False, with nothing painted, if no trial passed."""
    shown = [name for name in _UNITS if any(t.passed and getattr(t, name) is not None for t in limits.trials)]
    if not shown:
        return False
    first, *rest = shown
    rows: list[Any] = [[first] * max(1, len(rest)), rest] if rest else [[first]]
    panels: dict[str, Axes] = figure.subplot_mosaic(rows, height_ratios=[3, 2] if rest else None)
    users = list(dict.fromkeys(trial.users for trial in limits.trials))
    tint = {count: colours[i % len(colours)] for i, count in enumerate(users)}
    for name in shown:
        axes = panels[name]
        for count in users:
            _costs(axes, name, [t for t in limits.trials if t.users == count and t.passed], tint[count], words)
        for growth in limits.growths:
            if growth.figure == name:
                _fit(axes, growth, tint[growth.users], words, named=name == first)
        _scales(axes, name, limits, words)
    if result.facts.kv_blocks and "kv_used_blocks_peak" in panels:
        panels["kv_used_blocks_peak"].axhline(result.facts.kv_blocks, color=line, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
    _ends(panels[first], limits, tint, line, words)
    _failures(panels[first], limits, tint, words)
    handles = {label: handle for axes in panels.values() for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return True


def _costs(axes: Axes, name: CostFigure, passed: Sequence[TrialResult], colour: str, words: Words) -> None:
    """Paint a dot for each trial, hollow if an earlier, larger one may have left its memory allocated, and a line through the means."""
    by_length: dict[int, list[float]] = {}
    for trial in passed:
        value = getattr(trial, name)
        if value is not None:
            own = trial.takes_most or name not in _MEMORY
            face = colour if own else "none"
            axes.plot(trial.input_tokens, value / _UNITS[name], "o", color=colour, markersize=4, markerfacecolor=face)
            if own:
                by_length.setdefault(trial.input_tokens, []).append(value / _UNITS[name])
    points = [(length, sum(values) / len(values)) for length, values in sorted(by_length.items())]
    if points:
        label = words("legend.at_once", users=passed[0].users)
        axes.plot(*zip(*points, strict=True), "-", color=colour, linewidth=1, label=label)


def _fit(axes: Axes, growth: Growth, colour: str, words: Words, named: bool) -> None:
    """Paint the law over the lengths to which it was fitted."""
    low, high = growth.shortest_tokens, growth.longest_tokens
    across = [low * (high / low) ** (i / _FIT_POINTS) for i in range(_FIT_POINTS + 1)]
    label = words("legend.fit", users=growth.users, order=number(growth.slope)) if named and growth.law == "power" else "_fit"
    values = [growth.at(length) / _UNITS[growth.figure] for length in across]
    axes.plot(across, values, linestyle=(0, (1, 1.2)), color=colour, linewidth=1.6, alpha=0.8, label=label)


def _ends(axes: Axes, limits: ContextLimits, tint: dict[int, str], line: str, words: Words) -> None:
    """Paint each search's limit between the last length that passed and the first that failed, and the predicted limit."""
    for limit in limits.limits:
        if limit.passed_tokens is not None and limit.failed_tokens is not None:
            axes.axvspan(
                limit.passed_tokens, limit.failed_tokens, color=tint[limit.users], alpha=0.18, linewidth=0, label=words("legend.found")
            )
    if limits.predicted_tokens:
        label = words("legend.predicted", tokens=limits.predicted_tokens)
        axes.axvline(limits.predicted_tokens, color=line, linewidth=1, linestyle=(0, (4, 3)), label=label)


def _failures(axes: Axes, limits: ContextLimits, tint: dict[int, str], words: Words) -> None:
    """Paint the failures at the bottom: a row for each number of users, a shape for each class."""
    failed = [trial for trial in limits.trials if trial.failure]
    shapes = dict(zip(dict.fromkeys(trial.failure for trial in failed), _MARKERS, strict=False))
    rows = {users: 0.05 + 0.06 * row for row, users in enumerate(tint)}
    foot = axes.get_xaxis_transform()
    for trial in failed:
        shape, colour = shapes[trial.failure], tint[trial.users]
        axes.plot(
            trial.input_tokens,
            rows[trial.users],
            shape,
            color=colour,
            markersize=6,
            transform=foot,
            label=words(f"failure.{trial.failure}"),
        )


def _scales(axes: Axes, name: CostFigure, limits: ContextLimits, words: Words) -> None:
    lengths = [trial.input_tokens for trial in limits.trials]
    logarithmic = max(lengths) >= _LOG_FROM * min(lengths)
    if logarithmic:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.tick_params(axis="x", labelrotation=45 if name != "ttft_ns" else 0)
    if logarithmic and name not in _MEMORY:
        axes.set_yscale("log", base=10)
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.set_xlabel(words("axis.prompt_tokens"))
    axes.set_ylabel(words(f"axis.{name}"))


def _limit(result: DeploymentResult, limits: ContextLimits, words: Words) -> Figure | None:
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    return figure if paint_limit(figure, result, limits, words, COLOURS, INK) else None


def _painters(summary: Summary, words: Words) -> dict[str, Painter]:
    searched = [(result, limits) for result in shown(summary) if (limits := result.found[CONTEXT_LIMITS])]
    return {f"limit-{result.name}": partial(_limit, result, limits, words) for result, limits in searched}


FIGURE = ExperimentFigure(_painters)
