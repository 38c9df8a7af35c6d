"""The content of request files (datasets, traces, measured lengths), and how much of it was not sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from trtbench.analysis.verdict.verdict import Reason
from trtbench.rundir.event_kinds import LeftOutRows, PlanDrawn
from trtbench.rundir.events import every
from trtbench.rundir.records import Event
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.lengths import Empirical

MUCH_RATIO = 0.1
"""The share of unused rows above which the load differs from the file's, which is a reason of the verdict."""


@dataclass(frozen=True, slots=True)
class RequestData:
    """One file. `rows`: the number of rows in it. `left_out`: the rows that were not used, estimated from the drawn ones if rows are
    drawn.
    """

    path: str
    rows: int
    left_out: int
    reasons: tuple[LeftOutRows, ...] = ()

    @property
    def left_out_ratio(self) -> float:
        return self.left_out / self.rows if self.rows else 0.0


def request_data(events: Iterable[Event], scenario: Scenario) -> tuple[RequestData, ...]:
    """Each file once; if several plans used it, the numbers of the plan that left out most."""
    found: dict[str, RequestData] = {}
    for file in (file for plan in every(events, PlanDrawn) for file in plan.inputs):
        one = RequestData(file.path, file.rows, file.left_out, tuple(file.reasons))
        found[one.path] = max(one, found.get(one.path, one), key=lambda data: data.left_out)
    return (*found.values(), *_lengths(scenario))


def input_reasons(found: Sequence[RequestData], scenario: Scenario) -> Iterator[Reason]:
    """Reasons about files of which much was left out, and about lengths that make a dataset useless."""
    for one in found:
        if one.left_out:
            figures: dict[str, float | str] = {
                "file": PurePath(one.path).name,
                "count": one.left_out,
                "rows": one.rows,
                "left_out_ratio": one.left_out_ratio,
                "why": "; ".join(reason.reason for reason in one.reasons),
            }
            grade = one.left_out_ratio > MUCH_RATIO
            yield Reason("input_left_out_much" if grade else "input_left_out", "suspect" if grade else "note", figures=figures)
    for name, kind in scenario.workload.kinds.items():
        if kind.dataset and kind.ignores_input_tokens:
            key = f"workload.mix.{name}" if name else "workload"
            yield Reason("input_tokens_unused", "note", figures={"key": key, "file": kind.dataset.path.name})


def _lengths(scenario: Scenario) -> Iterator[RequestData]:
    """Files of lengths. The effective scenario contains their values, and the number of rows with a length of 0."""
    for name, kind in scenario.workload.kinds.items():
        for key in ("input_tokens", "output_tokens"):
            law = getattr(kind, key)
            if isinstance(law, Empirical) and law.left_out:
                path = f"workload.mix.{name}.{key}" if name else f"workload.{key}"
                rows = round(sum(law.weights)) + law.left_out
                yield RequestData(path, rows, law.left_out, (LeftOutRows("length is 0", law.left_out),))
