"""Which metrics a comparison shows if none are chosen, and in which direction each improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from trtbench.analysis.metric import Unit
from trtbench.analysis.named_figures import NamedFigure, named_figures
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


def better_direction(figure: NamedFigure) -> Better:
    """By the metric's name where it is listed, else by its unit: times improve downwards, rates upwards."""
    return _BETTER_BY_NAME.get(figure.metric.name, _BETTER_BY_UNIT.get(figure.unit, ""))


def usual_metrics(task: Task) -> tuple[NamedFigure, ...]:
    """The metrics that a comparison shows if none are chosen: percentiles of latency, rates and errors that the task has."""
    latencies = [f"{name}.{part}" for name, parts in _LATENCY_PARTS.items() for part in parts]
    figures = [named_figures()[name] for name in (*latencies, *_RATES)]
    return tuple(one for one in figures if one.metric.name not in task.hidden)
