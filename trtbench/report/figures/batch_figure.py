"""The figure of the two batchers: shares of requests by the size of what they ran in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.stage import StageResult

_TICKS = 16


def shares_of(result: DeploymentResult, inflight: bool) -> dict[int, float]:
    """At the highest closed-loop load where it was read; {} where it never was."""
    stages = [stage for stage in result.stages if stage.is_closed_loop and stage.held_level]
    found = {stage.level: shares for stage in stages if (shares := _inflight(stage) if inflight else _triton(stage))}
    return found[max(found)] if found else {}


def _inflight(stage: StageResult) -> dict[int, float]:
    return stage.inflight.request_shares if stage.inflight else {}


def _triton(stage: StageResult) -> dict[int, float]:
    histogram = stage.triton_batching.histogram if stage.triton_batching else {}
    total = sum(size * count for size, count in histogram.items())
    return {size: size * count / total for size, count in histogram.items()}


def paint_shares(axes: Axes, shares: Sequence[tuple[str, str, Mapping[int, float]]]) -> None:
    """`shares`: (colour, label, {size: share}), a group of bars a size."""
    sizes = sorted({size for *_, share in shares for size in share})
    width = 0.8 / max(len(shares), 1)
    for i, (colour, name, share) in enumerate(shares):
        offset = (i - (len(shares) - 1) / 2) * width
        axes.bar([x + offset for x in range(len(sizes))], [share.get(s, 0.0) for s in sizes], width * 0.92, color=colour, label=name)
    step = -(-len(sizes) // _TICKS) or 1
    axes.set_xticks(range(0, len(sizes), step), [str(size) for size in sizes[::step]])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="x", visible=False)
