"""The verdict: how far a run can be trusted, the reasons with their figures, and the conclusions that are based on doubtful stages.

A run with reasons of level `note` only is VALID: some figures are not shown, but none that is shown is doubtful.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Grade = Literal["note", "suspect", "invalid"]
_ORDER: tuple[Grade, ...] = ("note", "suspect", "invalid")
Status = Literal["VALID", "SUSPECT", "INVALID"]
Place = tuple[str, str]
"""A deployment and one of its stages, by name."""
_STATUS: dict[Grade, Status] = {"note": "VALID", "suspect": "SUSPECT", "invalid": "INVALID"}


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason for doubt. `figures` are the values that its text in report/ may contain, with units in their names. `stages`: the stages
    that it is about, if there are several.
    """

    code: str
    grade: Grade
    deployment: str = ""
    stage: str = ""
    figures: Mapping[str, float | str] = field(default_factory=dict)
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict is the grade of the worst reason; reasons are listed from the worst on."""

    status: Status
    reasons: tuple[Reason, ...]


def verdict(reasons: Iterable[Reason]) -> Verdict:
    ordered = sorted(reasons, key=lambda reason: -_ORDER.index(reason.grade))
    return Verdict(_STATUS[ordered[0].grade if ordered else "note"], tuple(ordered))


_OF_A_WHOLE_DEPLOYMENT = frozenset(
    {
        "clock_step",
        "damaged_columns",
        "damaged_events",
        "damaged_foreign",
        "damaged_foreign_samples",
        "damaged_lines",
        "damaged_missing",
        "damaged_rows",
        "damaged_torn",
        "damaged_unreadable",
        "damaged_values",
        "gpu_ecc",
        "gpu_lost",
        "gpu_shared",
        "gpu_xid",
        "tokens_differ",
        "tokens_estimated",
        "tokens_unknown",
    }
)
"""Reasons without a stage that doubt the figures of every stage. Other reasons of a deployment report something missing (a stage that did
not run, a reload that did not happen), which makes no existing figure doubtful.
"""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason (`code`), of the verdict or of a conclusion's own figures, against a stage that the conclusion is based on."""

    deployment: str
    stage: str
    code: str


_NOTES_THAT_DOUBT = frozenset({"unsteady_warm_up", "unsteady_step", "unsteady_trend"})
"""Notes that leave the figures of a run valid and yet doubt what follows from them."""


class Doubts:
    """The reasons of grade suspect or invalid, and a few notes, by the stage that they doubt."""

    def __init__(self, reasons: Iterable[Reason]) -> None:
        self._of_stage: dict[Place, list[str]] = {}
        self._of_deployment: dict[str, list[str]] = {}
        for reason in reasons:
            if reason.grade != "note" or reason.code in _NOTES_THAT_DOUBT:
                self._add(reason)

    def _add(self, reason: Reason) -> None:
        for stage in reason.stages or (reason.stage,):
            if stage:
                self._of_stage.setdefault((reason.deployment, stage), []).append(reason.code)
            elif reason.code in _OF_A_WHOLE_DEPLOYMENT:
                self._of_deployment.setdefault(reason.deployment, []).append(reason.code)

    def about(self, places: Iterable[Place]) -> tuple[Doubt, ...]:
        """The doubts about all `places`, in their order, without duplicates."""
        found: dict[Doubt, None] = {}
        for deployment, stage in places:
            for code in (*self._of_stage.get((deployment, stage), ()), *self._of_deployment.get(deployment, ())):
                found[Doubt(deployment, stage, code)] = None
        return tuple(found)
