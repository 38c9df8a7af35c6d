"""The comparison of one base run with one or more candidates: reads run directories, gives differences, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.token_counting import with_counts
from trtbench.analysis.summary import Summary, summarise
from trtbench.compare.alignment import DeploymentPair, only_in_one, paired
from trtbench.compare.compared_metric import ComparedMetric, usual_metrics
from trtbench.compare.difference import Difference, MeasuredStage, difference
from trtbench.compare.environment_differences import RunDifference, run_differences
from trtbench.compare.request_values import StageRequests
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.requests import Requests
from trtbench.tasks.registry import TASKS


class ReadRun:
    """A run directory with its summary. RunDirectoryError or ScenarioError if it holds no readable run."""

    def __init__(self, path: Path) -> None:
        self.directory = RunDirectory.open(path)
        self.summary: Summary = summarise(self.directory)
        self.name = self.summary.run

    def requests(self, deployment: str) -> Requests:
        """The requests of a deployment, with token counts as the summary has them."""
        (directory,) = (one for one in self.directory.deployments() if one.name == deployment)
        return with_counts(directory.columns())[0]

    def measured(self, stage: StageResult, requests: Requests) -> MeasuredStage:
        asked = next((one for one in self.summary.scenario.load if one.label == stage.span.name), None)
        of_stage = requests.stage(stage.span.name)
        if not len(of_stage):
            return MeasuredStage(stage, None)
        slo = self.summary.scenario.slo
        return MeasuredStage(stage, StageRequests(of_stage, stage.span.planned, asked.duration_s if asked else None, slo))


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


def compare(base: ReadRun, candidate: ReadRun, metrics: Sequence[ComparedMetric]) -> Comparison:
    """The differences of `metrics`, or of the usual ones if there are none, for each pair of stages."""
    pairs = paired(base.summary.deployments, candidate.summary.deployments)
    chosen = metrics or usual_metrics(TASKS[base.summary.scenario.task])
    found = [one for pair in pairs for one in _of_pair(pair, base, candidate, chosen)]
    return Comparison(
        base=base.summary,
        candidate=candidate.summary,
        pairs=tuple(pairs),
        differences=tuple(found),
        of_runs=run_differences(base.summary, candidate.summary, pairs),
        unpaired=tuple(only_in_one(base.summary.deployments, candidate.summary.deployments, pairs)),
    )


def _of_pair(pair: DeploymentPair, base: ReadRun, candidate: ReadRun, metrics: Sequence[ComparedMetric]) -> Iterator[Difference]:
    of_base, of_candidate = base.requests(pair.base.name), candidate.requests(pair.candidate.name)
    for own, other in pair.stages():
        stages = base.measured(own, of_base), candidate.measured(other, of_candidate)
        where = (candidate.name, pair.name, other.span.name)
        seeds = tuple(f"{one.summary.environment.anchor_wall_ns} {pair.name} {own.span.name}" for one in (base, candidate))
        for metric in metrics:
            yield difference(where, metric, *stages, (seeds[0], f"{seeds[1]} candidate"))
