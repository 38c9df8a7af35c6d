"""The figures of a stage by the names under which docs/metrics.md has them: ttft.p99, output_token_throughput, error_ratio.

Repeats, gates and comparisons name a figure, and mean the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from trtbench.analysis.metric import Metric, Unit
from trtbench.analysis.metrics import METRICS
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.percentile import PERMILLES
from trtbench.errors import UserError

_OF_DISTRIBUTION = ("mean", "min", *PERMILLES, "max")


@dataclass(frozen=True, slots=True)
class NamedFigure:
    """One number of a stage. `pick` returns it in the unit in which a StageResult holds it (times in nanoseconds), or None if the stage
    does not have it; `unit` is that in which it is printed.
    """

    name: str
    unit: Unit
    pick: Callable[[StageResult], float | None]


@cache
def named_figures() -> dict[str, NamedFigure]:
    """Every figure that is one number, in the order of the report's tables.

    - a distribution has METRIC.mean, .min, .p50, .p90, .p95, .p99, .p99_9 and .max, a sampled series those that the report shows;
    - a metric with one value has its own name, with "_" in place of blanks;
    - a part of another metric has the name of its column in the report's texts, as goodput_ratio and kv_peak;
    - a metric whose name lists several values has none.
    """
    return {figure.name: figure for metric in METRICS if metric.value and "," not in metric.name for figure in _of(metric)}


def figure_named(name: str, where: str) -> NamedFigure:
    """The figure of this name; UserError, with the nearest names, if there is none. `where`: the key or flag that names it."""
    known = named_figures()
    if name in known:
        return known[name]
    likely = {f"{name}.p99", f"{name}.p50"} & known.keys()
    near = sorted(likely) or get_close_matches(name, known, 3, 0.5)
    remedy = f"did you mean {' or '.join(near)}?" if near else "docs/metrics.md lists them, as ttft.p99 or output_token_throughput"
    raise UserError(f"{where} = {name!r}: is not the name of a figure; {remedy}")


def _of(metric: Metric[StageResult]) -> Iterator[NamedFigure]:
    name = metric.name.replace(" ", "_")
    shown = {part for column in metric.columns for part in column.parts if part in _OF_DISTRIBUTION}
    for part in _OF_DISTRIBUTION if metric.row else sorted(shown):
        yield NamedFigure(f"{name}.{part}", metric.unit, _part(metric, part))
    for column in metric.columns:
        unit, parts = metric.unit if column.unit is None else column.unit, set(column.parts) - set(_OF_DISTRIBUTION)
        if not column.parts:
            yield NamedFigure(name, unit, _whole(metric))
        elif len(column.parts) == len(parts) == 1:
            part = column.parts[0]
            yield NamedFigure(name if part == metric.name else column.name, unit, _part(metric, part))


def _part(metric: Metric[StageResult], part: str) -> Callable[[StageResult], float | None]:
    return lambda stage: _number(getattr(_value(metric, stage), part, None))


def _whole(metric: Metric[StageResult]) -> Callable[[StageResult], float | None]:
    return lambda stage: _number(_value(metric, stage))


def _value(metric: Metric[StageResult], stage: StageResult) -> Any:
    assert metric.value
    return metric.value(stage)


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
