"""The figure of a deployment's course: KV blocks, with the requests in the engine and the instants of cancellations below."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.kv_cache import NEAR_FULL_RATIO
from trtbench.analysis.timeline import Curve
from trtbench.report.kit.words import Words

_NS_PER_S = 1e9
_LEAST_SHARE = 0.05  # of the width; a stage under it has no room for its name


def paint_timeline(figure: Figure, result: DeploymentResult, words: Words, colours: Sequence[str], line: str) -> None:
    """Paint two aligned panels, and a third one if the engine counts reused blocks. `line` is the colour of bands and marks."""
    rows = [_blocks, _requests, *([_reused] if any(result.timeline.reused_blocks.value) else [])]
    panels: list[Axes] = list(figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0])
    start_ns = result.stages[0].span.start_ns
    end_s = (max(result.stages[-1].span.end_ns, result.timeline.end_ns) - start_ns) / _NS_PER_S
    for paint, axes in zip(rows, panels, strict=True):
        paint(axes, result, start_ns, words, colours, line)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        _bands(axes, result, start_ns, line)
    _names(panels[0], result, start_ns, end_s)
    panels[-1].set_xlim(0, end_s)
    panels[-1].set_xlabel(words("axis.time"))
    figure.align_ylabels()
    entries = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4)


def _blocks(axes: Axes, result: DeploymentResult, start_ns: int, words: Words, colours: Sequence[str], line: str) -> None:
    _curve(axes, result.kv_used_blocks, start_ns, colours[0], words("legend.used"), filled=True)
    _curve(axes, result.timeline.free_blocks, start_ns, colours[4], words("legend.free"))
    if result.timeline.kv_blocks_max:
        near_full = NEAR_FULL_RATIO * result.timeline.kv_blocks_max
        axes.axhline(near_full, color=line, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6, label=words("legend.near_full"))
        axes.set_ylim(top=1.02 * result.timeline.kv_blocks_max)
    axes.set_ylabel(words("axis.kv_blocks"))


def _requests(axes: Axes, result: DeploymentResult, start_ns: int, words: Words, colours: Sequence[str], line: str) -> None:
    _curve(axes, result.running, start_ns, colours[2], words("legend.running"), filled=True)
    _curve(axes, result.waiting, start_ns, colours[1], words("legend.waiting"))
    if any(result.timeline.paused.value):
        _curve(axes, result.timeline.paused, start_ns, colours[3], words("legend.paused"))
    if result.timeline.cancels_ns:
        at = [(instant - start_ns) / _NS_PER_S for instant in result.timeline.cancels_ns]
        low, label = axes.get_xaxis_transform(), words("legend.cancelled")
        axes.plot(at, [0.03] * len(at), "|", color=line, markersize=7, transform=low, label=label, zorder=5)
    axes.set_ylabel(words("axis.requests"))


def _reused(axes: Axes, result: DeploymentResult, start_ns: int, words: Words, colours: Sequence[str], line: str) -> None:
    _curve(axes, result.timeline.reused_blocks, start_ns, colours[5], words("legend.reused"), filled=True)
    axes.set_ylabel(words("axis.reused"))


def _curve(axes: Axes, curve: Curve, start_ns: int, colour: str, label: str, filled: bool = False) -> None:
    """Paint the largest values as a line, with a tint down to the smallest values; `filled` adds a lighter tint below."""
    seconds = [(at - start_ns) / _NS_PER_S for at in curve.time_ns]
    if not seconds:
        return
    axes.fill_between(seconds, curve.low, curve.value, step="post", color=colour, alpha=0.45, linewidth=0)
    if filled:
        axes.fill_between(seconds, curve.low, step="post", color=colour, alpha=0.2, linewidth=0)
    axes.step(seconds, curve.value, where="post", color=colour, linewidth=1, label=label)


def _bands(axes: Axes, result: DeploymentResult, start_ns: int, line: str) -> None:
    for i, stage in enumerate(result.stages):
        left, right = ((at - start_ns) / _NS_PER_S for at in (stage.span.start_ns, stage.span.end_ns))
        axes.axvspan(left, right, color=line, alpha=0.09 if i % 2 else 0.04, linewidth=0)


def _names(axes: Axes, result: DeploymentResult, start_ns: int, end_s: float) -> None:
    """Write the names of stages above their bands, alternately at two heights if neighbours would overlap."""
    for i, stage in enumerate(result.stages):
        left, right = ((at - start_ns) / _NS_PER_S for at in (stage.span.start_ns, stage.span.end_ns))
        if right - left >= _LEAST_SHARE * end_s:
            height = 1.02 + 0.11 * (i % 2 if len(result.stages) > 4 else 0)
            middle, place = (left + right) / 2, axes.get_xaxis_transform()
            axes.text(middle, height, stage.span.name, ha="center", va="bottom", fontsize=8, transform=place)
