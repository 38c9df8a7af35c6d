"""The comparison of one base run with one or more candidates: reads run directories, gives differences, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtbench.analysis.measured_rounds import measured_in_rounds
from trtbench.analysis.named_figures import NamedFigure
from trtbench.analysis.stage.stage_result import StageResult, is_disturbed
from trtbench.analysis.stage.token_counting import with_counts
from trtbench.analysis.summary import Summary, summarise
from trtbench.compare.alignment import DeploymentPair, only_in_one, paired
from trtbench.compare.compared_metric import usual_metrics
from trtbench.compare.difference import Difference, MeasuredPair, MeasuredStage, difference
from trtbench.compare.environment_differences import RunDifference, run_differences
from trtbench.compare.request_values import StageRequests
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.requests import Requests
from trtbench.tasks.registry import TASKS


class ReadRun:
    """A run directory with its summary. RunDirectoryError or ScenarioError if it holds no readable run."""

    def __init__(self, path: Path, summary: Summary | None = None) -> None:
        self.directory = RunDirectory.open(path)
        self.summary: Summary = summary or summarise(self.directory)
        self.name = self.summary.run

    def requests(self, deployment: str) -> Requests:
        """The requests of a deployment, with token counts as the summary has them."""
        (directory,) = (one for one in self.directory.deployments() if one.name == deployment)
        return with_counts(directory.columns())[0]

    def measured(self, stage: StageResult, requests: Requests) -> MeasuredStage:
        asked = next((one for one in self.summary.scenario.load if one.label == stage.span.name), None)
        of_stage = requests.stage(stage.span.name)
        disturbed = is_disturbed(stage, self.summary.environment.cpu_count)
        if not len(of_stage):
            return MeasuredStage(stage, None, disturbed)
        slo = self.summary.scenario.slo
        return MeasuredStage(stage, StageRequests(of_stage, stage.span.planned, asked.duration_s if asked else None, slo), disturbed)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One candidate compared with the base. `unpaired`: deployments and stages that only one of the runs has."""

    base: Summary
    candidate: Summary
    pairs: tuple[DeploymentPair, ...]
    differences: tuple[Difference, ...]
    of_runs: tuple[RunDifference, ...]
    unpaired: tuple[str, ...]

    @property
    def refusals(self) -> tuple[RunDifference, ...]:
        """Differences that make the comparison meaningless."""
        return tuple(one for one in self.of_runs if one.decisive)

    @property
    def has_points_only(self) -> bool:
        """Whether a run has no records of requests, so that nothing has an interval."""
        known = [one for one in self.differences if one.base is not None and one.candidate is not None]
        return bool(known) and not any(one.interval for one in known)


def compare(base: ReadRun, candidate: ReadRun, metrics: Sequence[NamedFigure]) -> Comparison:
    """The differences of `metrics`, or of the usual ones if there are none, for each pair of stages."""
    of_base, of_candidate = (measured_in_rounds(one.summary.deployments, one.summary.scenario) for one in (base, candidate))
    pairs = paired(of_base, of_candidate)
    chosen = metrics or usual_metrics(TASKS[base.summary.scenario.task])
    found = [one for pair in pairs for one in _of_pair(pair, base, candidate, chosen)]
    return Comparison(
        base=base.summary,
        candidate=candidate.summary,
        pairs=tuple(pairs),
        differences=tuple(found),
        of_runs=run_differences(base.summary, candidate.summary, pairs),
        unpaired=tuple(only_in_one(of_base, of_candidate, pairs)),
    )


def _of_pair(pair: DeploymentPair, base: ReadRun, candidate: ReadRun, metrics: Sequence[NamedFigure]) -> Iterator[Difference]:
    requests = [(base.requests(one.name), candidate.requests(other.name)) for one, other in pair.rounds()]
    for load in pair.loads():
        stages = pair.stages(load)
        measured = [
            MeasuredPair(base.measured(one.base, own), candidate.measured(one.candidate, other))
            for one, (own, other) in zip(stages, requests, strict=True)
        ]
        name = stages[0].candidate.span.name
        seeds = [f"{one.summary.environment.anchor_wall_ns} {pair.name} {name}" for one in (base, candidate)]
        for metric in metrics:
            yield difference((candidate.name, pair.name, name), metric, measured, (seeds[0], f"{seeds[1]} candidate"))
