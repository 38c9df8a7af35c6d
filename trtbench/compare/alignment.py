"""Which stage of the candidate is compared with which stage of the base: the same deployment under the same load, round by round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.measured_rounds import MeasuredInRounds
from trtbench.analysis.stage.stage_result import StageResult

Load = tuple[str, float, float | None, int]
"""Mode, level, level at which a ramp began, and which of the stages with this load it is."""


@dataclass(frozen=True, slots=True)
class StagePair:
    """A stage under one load in both runs."""

    base: StageResult
    candidate: StageResult


@dataclass(frozen=True, slots=True)
class DeploymentPair:
    base: MeasuredInRounds
    candidate: MeasuredInRounds

    @property
    def name(self) -> str:
        """Both names if they differ, as they do where two precisions are compared."""
        return self.base.name if self.base.name == self.candidate.name else f"{self.base.name} → {self.candidate.name}"

    def rounds(self) -> list[tuple[DeploymentResult, DeploymentResult]]:
        """The rounds that both runs have, in pairs by their number; without a common one, the first of each."""
        base, candidate = self.base.rounds, self.candidate.rounds
        common = [(base[number], candidate[number]) for number in base if number in candidate]
        return common or [(one, other) for one, other in zip(base.values(), candidate.values(), strict=False)][:1]

    def loads(self) -> list[Load]:
        """The loads that every pair of rounds has, in the order of the base."""
        pairs = [(by_load(one.stages), by_load(other.stages)) for one, other in self.rounds()]
        first = pairs[0][0] if pairs else {}
        return [load for load in first if all(load in base and load in candidate for base, candidate in pairs)]

    def stages(self, load: Load) -> list[StagePair]:
        """The stages under a load, a pair for each round."""
        return [StagePair(by_load(one.stages)[load], by_load(other.stages)[load]) for one, other in self.rounds()]

    def unpaired(self) -> Iterator[str]:
        """Stages and rounds that only one of the two runs has."""
        known = set(self.loads())
        for side, place in ((self.base, 0), (self.candidate, 1)):
            used = [pair[place] for pair in self.rounds()]
            yield from (result.name for result in side.rounds.values() if result not in used)
            yield from (f"{side.name} {stage.span.name}" for load, stage in by_load(used[0].stages).items() if load not in known)


def by_load(stages: Sequence[StageResult]) -> Mapping[Load, StageResult]:
    """Stages by their load, in their order. Equal loads are numbered."""
    seen: Counter[tuple[str, float, float | None]] = Counter()
    found: dict[Load, StageResult] = {}
    for stage in stages:
        mode, asked, ramp_from = load = (stage.span.mode, stage.span.asked, stage.ramp_from)
        found[mode, asked, ramp_from, seen[load]] = stage
        seen[load] += 1
    return found


def paired(base: Sequence[MeasuredInRounds], candidate: Sequence[MeasuredInRounds]) -> list[DeploymentPair]:
    """Deployments of the same name; of the others, those of the same configuration name with one engine left in both runs; then the only
    one left in both. Deployments without a whole round have no pair.
    """
    own, rest = ([one for one in side if one.rounds] for side in (base, candidate))
    named = {one.name: one for one in rest}
    pairs = {one.name: named[one.name] for one in own if one.name in named}
    left = [one for one in own if one.name not in pairs]
    others = [one for one in rest if one.name not in pairs]
    for one in left:
        same = [other for other in others if other.cell == one.cell]
        alone = sum(other.cell == one.cell for other in left) == 1
        if (len(same) == 1 and alone) or (len(left) == len(others) == 1):
            pairs[one.name] = (same or others)[0]
    return [DeploymentPair(one, pairs[one.name]) for one in own if one.name in pairs]


def only_in_one(base: Sequence[MeasuredInRounds], candidate: Sequence[MeasuredInRounds], pairs: Sequence[DeploymentPair]) -> list[str]:
    """Names of deployments, rounds and stages that have no counterpart."""
    used = {id(one) for pair in pairs for one in (pair.base, pair.candidate)}
    alone = [one.name for one in (*base, *candidate) if id(one) not in used]
    return alone + [name for pair in pairs for name in pair.unpaired()]
