"""The metrics of a stage by the names that a user types, as `ttft.p99` or `output_token_throughput`, from the declarations in
analysis/metrics.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Literal

from trtbench.analysis.metric import Metric, Unit
from trtbench.analysis.metrics import METRICS
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.percentile import PERMILLES
from trtbench.errors import UserError
from trtbench.system.foreign_text import shown
from trtbench.tasks.task import Task

Better = Literal["lower", "higher", ""]
"""The direction in which a metric improves; "" where neither is better in itself."""

_DISTRIBUTION = ("mean", "min", "max", *PERMILLES)
_BETTER_BY_UNIT: Mapping[Unit, Better] = {
    **dict.fromkeys(("ms", "J", "J/token"), "lower"),
    **dict.fromkeys(("requests/s", "inferences/s", "tokens/s"), "higher"),
}
_BETTER_BY_NAME: Mapping[str, Better] = {"error_ratio": "lower", "goodput": "higher", "offered_rate": "", "responses": ""}
_NEAREST = 4
_LATENCY_PARTS = {"ttft": ("p50", "p99"), "itl": ("p99",), "tpot": ("p50",), "e2e_latency": ("p50", "p99")}
_RATES = ("output_token_throughput", "inference_throughput", "request_throughput", "goodput", "error_ratio")


@dataclass(frozen=True)
class ComparedMetric:
    """One number of a stage. `part`: attribute of the metric's value, "" if the value is the number itself."""

    name: str
    metric: Metric[StageResult]
    part: str
    unit: Unit

    def value(self, stage: StageResult) -> float | None:
        found = self.metric.value(stage) if self.metric.value else None
        number = getattr(found, self.part, None) if self.part else found
        return float(number) if isinstance(number, (int, float)) else None

    @property
    def permille(self) -> int | None:
        """The percentile in thousandths, or None if it is not a percentile."""
        return PERMILLES.get(self.part)

    @property
    def better(self) -> Better:
        return _BETTER_BY_NAME.get(self.metric.name, _BETTER_BY_UNIT.get(self.unit, ""))


@cache
def known_metrics() -> Mapping[str, ComparedMetric]:
    """Every number of a stage that can be compared, by its name."""
    return {one.name: one for metric in METRICS if metric.value and " " not in metric.name for one in _parts(metric)}


def metric_named(name: str, flag: str) -> ComparedMetric:
    """UserError, with the nearest names, for a name that no metric has."""
    written = name.strip().replace("p99.9", "p99_9")
    found = known_metrics().get(written)
    if found is None:
        near = get_close_matches(written, known_metrics(), _NEAREST, 0.4) or get_close_matches(
            f"{written}.p99", known_metrics(), _NEAREST, 0
        )
        raise UserError(f"{flag}: unknown metric {shown(name, 60)}; did you mean {', '.join(near)}?")
    return found


def usual_metrics(task: Task) -> tuple[ComparedMetric, ...]:
    """The metrics that a comparison shows if none are chosen: percentiles of latency, rates and errors that the task has."""
    latencies = [f"{name}.{part}" for name, parts in _LATENCY_PARTS.items() for part in parts]
    names = [*latencies, *_RATES]
    return tuple(one for name in names if not task.hidden & {(one := known_metrics()[name]).metric.name})


def _parts(metric: Metric[StageResult]) -> Iterator[ComparedMetric]:
    """A distribution has its parts; an object has those of its columns; a number has none."""
    of_columns = {part: column.unit or metric.unit for column in metric.columns for part in column.parts}
    parts = dict.fromkeys(_DISTRIBUTION, metric.unit) if metric.row else of_columns
    if not parts:
        yield ComparedMetric(metric.name, metric, "", metric.unit)
    for part, unit in parts.items():
        own = part == metric.name or (part.startswith(metric.name) and part not in _DISTRIBUTION)
        yield ComparedMetric(part if own else f"{metric.name}.{part}", metric, part, unit)
