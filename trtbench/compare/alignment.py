"""Which stage of the candidate is compared with which stage of the base: the same deployment under the same load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.stage_result import StageResult

Load = tuple[str, float, float | None, int]
"""Mode, level, level at which a ramp began, and which of the stages with this load it is."""


@dataclass(frozen=True, slots=True)
class DeploymentPair:
    base: DeploymentResult
    candidate: DeploymentResult

    @property
    def name(self) -> str:
        """Both names if they differ, as they do where two precisions are compared."""
        return self.base.name if self.base.name == self.candidate.name else f"{self.base.name} → {self.candidate.name}"

    def stages(self) -> Iterator[tuple[StageResult, StageResult]]:
        base, candidate = by_load(self.base.stages), by_load(self.candidate.stages)
        yield from ((base[load], candidate[load]) for load in base if load in candidate)

    def unpaired(self) -> Iterator[str]:
        """Stages that only one of the two runs has."""
        base, candidate = by_load(self.base.stages), by_load(self.candidate.stages)
        yield from (f"{self.base.name} {base[load].span.name}" for load in base if load not in candidate)
        yield from (f"{self.candidate.name} {candidate[load].span.name}" for load in candidate if load not in base)


def by_load(stages: Sequence[StageResult]) -> Mapping[Load, StageResult]:
    """Stages by their load, in their order. Equal loads are numbered."""
    seen: Counter[tuple[str, float, float | None]] = Counter()
    found: dict[Load, StageResult] = {}
    for stage in stages:
        mode, asked, ramp_from = load = (stage.span.mode, stage.span.asked, stage.ramp_from)
        found[mode, asked, ramp_from, seen[load]] = stage
        seen[load] += 1
    return found


def paired(base: Sequence[DeploymentResult], candidate: Sequence[DeploymentResult]) -> list[DeploymentPair]:
    """Deployments of the same name; of the others, those of the same configuration name with one engine left in both runs; then the only
    one left in both.
    """
    pairs: dict[str, DeploymentResult] = {}
    rest = {one.name: one for one in candidate}
    for one in base:
        if one.name in rest:
            pairs[one.name] = rest.pop(one.name)
    left = [one for one in base if one.name not in pairs]
    for one in left:
        same = [other for other in rest.values() if other.facts.deployment == one.facts.deployment]
        alone = sum(other.facts.deployment == one.facts.deployment for other in left) == 1
        if (len(same) == 1 and alone) or (len(left) == len(rest) == 1):
            pairs[one.name] = rest.pop((same or list(rest.values()))[0].name)
    return [DeploymentPair(one, pairs[one.name]) for one in base if one.name in pairs]


def only_in_one(base: Sequence[DeploymentResult], candidate: Sequence[DeploymentResult], pairs: Sequence[DeploymentPair]) -> list[str]:
    """Names of deployments and stages that have no counterpart."""
    used = {id(one) for pair in pairs for one in (pair.base, pair.candidate)}
    alone = [one.name for one in (*base, *candidate) if id(one) not in used]
    return alone + [name for pair in pairs for name in pair.unpaired()]
