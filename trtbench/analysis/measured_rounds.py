"""The rounds of a run: deployments that are the same one, measured again, and each figure of a stage over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.named_figures import NamedFigure
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.estimate import Estimate
from trtbench.scenario.scenario import Scenario


@dataclass(frozen=True, slots=True)
class MeasuredInRounds:
    """One deployment on one engine, over the rounds of the run.

    `cell`: its name without the round; `rounds`: the whole rounds by number, in which every stage came to its end; `left_out`: the
    directories of the others, which were interrupted or lost their server.
    """

    cell: str
    dtype: str | None
    rounds: Mapping[int, DeploymentResult]
    left_out: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name as that of a directory, without the round."""
        return f"{self.cell}-{self.dtype}" if self.dtype else self.cell

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages, those of one round in the order of their loads."""
        first = next(iter(self.rounds.values()), None)
        ordered = sorted(first.stages, key=lambda s: (not s.is_closed_loop, s.span.mode, s.span.asked)) if first else ()
        return tuple(stage.span.name for stage in ordered)

    def stage(self, name: str) -> tuple[StageResult, ...]:
        """The stage of this name in every round."""
        return tuple(stage for result in self.rounds.values() if (stage := result.stage(name)))

    def estimate(self, stage: str, figure: NamedFigure) -> Estimate | None:
        """The mean of a figure over the rounds with its interval (Student's t), or None if a round lacks the figure."""
        return Estimate.over(self.stage(stage), figure.value)


def measured_in_rounds(results: Sequence[DeploymentResult], scenario: Scenario) -> tuple[MeasuredInRounds, ...]:
    """Each deployment on each engine with its rounds, in the order of the scenario; of a run without rounds each alone."""
    rounds, found = scenario.rounds, dict[tuple[str, str | None], list[tuple[int, DeploymentResult]]]()
    for result in results:
        name = result.facts.deployment
        cell, number = (rounds.cell_of(name), rounds.round_of(name)) if rounds else (name, 1)
        found.setdefault((cell, result.facts.dtype), []).append((number, result))
    order = {rounds.cell_of(name) if rounds else name: place for place, name in enumerate(scenario.deployments)}
    keys = sorted(found, key=lambda key: (order.get(key[0], len(order)), key[1] or ""))
    return tuple(_of_cell(*key, sorted(found[key], key=lambda pair: pair[0]), scenario) for key in keys)


def _of_cell(cell: str, dtype: str | None, numbered: Sequence[tuple[int, DeploymentResult]], scenario: Scenario) -> MeasuredInRounds:
    whole = {number: result for number, result in numbered if is_whole(result, scenario)}
    return MeasuredInRounds(cell, dtype, whole, tuple(result.name for number, result in numbered if number not in whole))


def is_whole(result: DeploymentResult, scenario: Scenario) -> bool:
    """Whether the deployment of a round received every stage to its end. Intervals leave other rounds out, because some of their stages
    would be missing in the pairs that rounds form.
    """
    ended = {stage.span.name for stage in result.stages if stage.span.ended in ("done", "steady")}
    return bool(ended) and {stage.label for stage in scenario.load} <= ended
