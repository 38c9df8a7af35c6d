"""A finding: an observation with its figures, as data. report/ puts it into words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from trtbench.analysis.verdict.verdict import Doubt, Doubts, Place

Severity = Literal["critical", "warning", "info"]
Confidence = Literal["likely", "possible"]
_ORDER: tuple[Severity, ...] = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding. `code` selects the text (observation, cause, remedy); `limits`: whether it is what bounds throughput; `figures` are the
    evidence.

    `rests_on`: the stages whose figures it compares, if there are others than `stage`. `doubts`: its own, and the reasons of the verdict
    against any of these stages. `confidence`: a finding with a doubt is possible, another one likely.
    """

    code: str
    severity: Severity
    deployment: str = ""
    stage: str = ""
    limits: bool = False
    figures: Mapping[str, float | str] = field(default_factory=dict)
    rests_on: tuple[Place, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    confidence: Confidence = "likely"

    @property
    def places(self) -> tuple[Place, ...]:
        return self.rests_on or (((self.deployment, self.stage),) if self.stage else ())


def with_doubts(findings: Iterable[Finding], doubts: Doubts) -> Iterator[Finding]:
    """The findings with the doubts of the verdict after their own, and their confidence."""
    for finding in findings:
        every = tuple(dict.fromkeys((*finding.doubts, *doubts.about(finding.places))))
        yield replace(finding, doubts=every, confidence="possible" if every else "likely")


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))
