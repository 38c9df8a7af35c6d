"""The figures of a stage by the names that a user types, as ttft.p99 or output_token_throughput, from the declarations in
analysis/metrics.py. Repeats, gates and comparisons mean the same figure by a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from trtbench.analysis.metric import Metric, Unit
from trtbench.analysis.metrics import METRICS
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.percentile import PERMILLES
from trtbench.errors import UserError
from trtbench.system.foreign_text import shown

_DISTRIBUTION = ("mean", "min", "max", *PERMILLES)
_NEAREST = 4
_MOST_SHOWN = 60


@dataclass(frozen=True)
class NamedFigure:
    """One number of a stage. `part`: attribute of the metric's value, "" if the value is the number itself. `unit`: as it is printed."""

    name: str
    metric: Metric[StageResult]
    part: str
    unit: Unit

    def value(self, stage: StageResult) -> float | None:
        """The number in the unit in which a StageResult holds it (times in nanoseconds), or None if the stage does not have it."""
        found = self.metric.value(stage) if self.metric.value else None
        number = getattr(found, self.part, None) if self.part else found
        return float(number) if isinstance(number, (int, float)) else None

    @property
    def permille(self) -> int | None:
        """The percentile in thousandths, or None if it is not a percentile."""
        return PERMILLES.get(self.part)


@cache
def named_figures() -> Mapping[str, NamedFigure]:
    """Every number of a stage by its name, in the order of the report's tables."""
    return {one.name: one for metric in METRICS if metric.value and " " not in metric.name for one in _parts(metric)}


def figure_named(name: str, where: str) -> NamedFigure:
    """UserError, with the nearest names, for a name that no figure has. `where`: the flag or the key that names it."""
    written = name.strip().replace("p99.9", "p99_9")
    found = named_figures().get(written)
    if found is None:
        near = get_close_matches(written, named_figures(), _NEAREST, 0.4) or get_close_matches(
            f"{written}.p99", named_figures(), _NEAREST, 0
        )
        raise UserError(f"{where}: unknown metric {shown(name, _MOST_SHOWN)}; did you mean {', '.join(near)}?")
    return found


def _parts(metric: Metric[StageResult]) -> Iterator[NamedFigure]:
    """A distribution has its parts; an object has those of its columns; a number has none."""
    of_columns = {part: column.unit or metric.unit for column in metric.columns for part in column.parts}
    parts = dict.fromkeys(_DISTRIBUTION, metric.unit) if metric.row else of_columns
    if not parts:
        yield NamedFigure(metric.name, metric, "", metric.unit)
    for part, unit in parts.items():
        own = part == metric.name or (part.startswith(metric.name) and part not in _DISTRIBUTION)
        yield NamedFigure(part if own else f"{metric.name}.{part}", metric, part, unit)
