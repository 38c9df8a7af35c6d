"""The metrics that a comparison compares: figures of a stage by their names, and the direction in which each improves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from trtbench.analysis.metric import Unit
from trtbench.analysis.named_figures import NamedFigure, figure_named, named_figures
from trtbench.tasks.task import Task

Better = Literal["lower", "higher", ""]
"""The direction in which a metric improves; "" where neither is better in itself."""

_BETTER_BY_UNIT: Mapping[Unit, Better] = {
    **dict.fromkeys(("ms", "J", "J/token"), "lower"),
    **dict.fromkeys(("requests/s", "inferences/s", "tokens/s"), "higher"),
}
_BETTER_BY_NAME: Mapping[str, Better] = {"error_ratio": "lower", "goodput": "higher", "offered_rate": "", "responses": ""}
_LATENCY_PARTS = {"ttft": ("p50", "p99"), "itl": ("p99",), "tpot": ("p50",), "e2e_latency": ("p50", "p99")}
_RATES = ("output_token_throughput", "inference_throughput", "request_throughput", "goodput", "error_ratio")


@dataclass(frozen=True)
class ComparedMetric(NamedFigure):
    @property
    def better(self) -> Better:
        return _BETTER_BY_NAME.get(self.metric.name, _BETTER_BY_UNIT.get(self.unit, ""))


@cache
def known_metrics() -> Mapping[str, ComparedMetric]:
    """Every number of a stage that can be compared, by its name."""
    return {name: ComparedMetric(name, one.metric, one.part, one.unit) for name, one in named_figures().items()}


def metric_named(name: str, flag: str) -> ComparedMetric:
    """UserError, with the nearest names, for a name that no metric has."""
    return known_metrics()[figure_named(name, flag).name]


def usual_metrics(task: Task) -> tuple[ComparedMetric, ...]:
    """The metrics that a comparison shows if none are chosen: percentiles of latency, rates and errors that the task has."""
    latencies = [f"{name}.{part}" for name, parts in _LATENCY_PARTS.items() for part in parts]
    names = [*latencies, *_RATES]
    return tuple(one for name in names if not task.hidden & {(one := known_metrics()[name]).metric.name})
