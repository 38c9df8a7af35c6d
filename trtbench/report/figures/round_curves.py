"""Curves of a repeated load: at each level the mean over the rounds, with its 95 % interval as a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from matplotlib.axes import Axes

from trtbench.analysis.measured_rounds import MeasuredInRounds
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.estimate import Estimate
from trtbench.report.kit.canvas import COLOURS
from trtbench.report.kit.grouping import FEW

_NS_PER_MS = 1e6
Pick = Callable[[StageResult], float | None]


def paint_rates(axes: Axes, measured: Sequence[MeasuredInRounds], rate: str) -> None:
    """`rate`: field of Throughput, over the users of the closed loops."""
    for colour, one in _coloured(measured):
        _paint(axes, one, True, lambda stage: getattr(stage.throughput, rate), colour, "o-", one.name)


def paint_latencies(panels: Mapping[str, Axes], measured: Sequence[MeasuredInRounds], closed: bool) -> None:
    """P50 solid and P99 dashed. `panels`: by field of Latency; `closed`: over users, otherwise over the rates of open loops."""
    for colour, one in _coloured(measured):
        for field, axes in panels.items():
            for part, line, label in (("p50", "o-", one.name), ("p99", "o--", f"{one.name} P99")):
                _paint(axes, one, closed, _in_ms(field, part), colour, line, label)


def _in_ms(field: str, part: str) -> Pick:
    def pick(stage: StageResult) -> float | None:
        value: float | None = getattr(getattr(stage.latency, field), part)
        return None if value is None else value / _NS_PER_MS

    return pick


def _coloured(measured: Sequence[MeasuredInRounds]) -> Iterator[tuple[str, MeasuredInRounds]]:
    """The first few deployments, as many as can be distinguished."""
    return zip(COLOURS, measured[:FEW], strict=False)


def _paint(axes: Axes, one: MeasuredInRounds, closed: bool, pick: Pick, colour: str, line: str, label: str) -> None:
    points = sorted(_points(one, closed, pick), key=lambda point: point[0])
    if points:
        levels, found = [level for level, _ in points], [estimate for _, estimate in points]
        ends = [estimate.half_width or 0.0 for estimate in found]
        means = [estimate.mean for estimate in found]
        axes.errorbar(levels, means, yerr=ends, fmt=line, color=colour, label=label, markersize=4, capsize=3, elinewidth=1)


def _points(one: MeasuredInRounds, closed: bool, pick: Pick) -> Iterator[tuple[float, Estimate]]:
    """(Mean level that was reached, figure) of the stages that held a level in every round."""
    for name in one.stages:
        rounds = one.stage(name)
        if all(stage.is_closed_loop is closed and stage.held_level for stage in rounds):
            level, found = Estimate.over(rounds, lambda stage: stage.level), Estimate.over(rounds, pick)
            if level and found:
                yield level.mean, found
