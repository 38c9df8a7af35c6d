"""Which conclusions are based on stages that the verdict doubts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trtbench.analysis.verdict.verdict import Place, Reason

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
"""Reasons that name no stage and doubt the figures of every stage. Other reasons of a deployment say what is missing (a stage that did
not run, a reload that did not happen); the figures that exist are not doubtful for that."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason of the verdict (`code`) against a stage that a conclusion is based on."""

    deployment: str
    stage: str
    code: str


class Doubts:
    """The reasons of grade suspect or invalid, by the stage that they doubt."""

    def __init__(self, reasons: Iterable[Reason]) -> None:
        self._of_stage: dict[Place, list[str]] = {}
        self._of_deployment: dict[str, list[str]] = {}
        for reason in reasons:
            if reason.grade != "note":
                self._add(reason)

    def _add(self, reason: Reason) -> None:
        for stage in reason.stages or (reason.stage,):
            if stage:
                self._of_stage.setdefault((reason.deployment, stage), []).append(reason.code)
            elif reason.code in _OF_A_WHOLE_DEPLOYMENT:
                self._of_deployment.setdefault(reason.deployment, []).append(reason.code)

    def about(self, places: Iterable[Place]) -> tuple[Doubt, ...]:
        """The doubts of all `places`, in their order, each once."""
        found: dict[Doubt, None] = {}
        for deployment, stage in places:
            for code in (*self._of_stage.get((deployment, stage), ()), *self._of_deployment.get(deployment, ())):
                found[Doubt(deployment, stage, code)] = None
        return tuple(found)
