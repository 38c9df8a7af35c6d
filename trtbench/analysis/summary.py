"""The summary: everything that can be derived from a run directory."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.deployments import deployment_result
from trtbench.analysis.experiment_analysis import ExperimentAnalysis, MeasuredRun
from trtbench.analysis.facts import NO_FIGURE
from trtbench.analysis.found import Found
from trtbench.analysis.loader import RecordedRun
from trtbench.analysis.request_data import RequestData, input_reasons, request_data
from trtbench.analysis.verdict.client_validity import transport_reasons
from trtbench.analysis.verdict.finding import Finding, by_severity, with_doubts
from trtbench.analysis.verdict.findings.rules import deployment_findings
from trtbench.analysis.verdict.gpu_health import HeldGpu, held_gpus
from trtbench.analysis.verdict.validity import (
    damage_reasons,
    gpu_reasons,
    reported_reasons,
    resume_reasons,
    run_reasons,
    sample_reasons,
    stage_reasons,
)
from trtbench.analysis.verdict.verdict import Doubts, Reason, Verdict, verdict
from trtbench.experiments.registry import roles
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import IF_KNOWN, RunStarted
from trtbench.rundir.events import first
from trtbench.rundir.records import Environment
from trtbench.rundir.sessions import Resumption, current, is_interrupted, length_s, resumptions, sessions
from trtbench.scenario.deployment.gpu_settings import Cost
from trtbench.scenario.scenario import Scenario

SUMMARY_VERSION = 2


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of a run. `complete`: the run ended by itself, without an interruption or a kill. `found`: the experiments' results for
    the run.
    """

    run: str
    complete: bool
    command: str
    started_utc: str
    wall_s: float
    scenario: Scenario
    environment: Environment
    verdict: Verdict
    deployments: tuple[DeploymentResult, ...]
    found: Found
    findings: tuple[Finding, ...]
    resumptions: tuple[Resumption, ...] = ()
    held_gpus: tuple[HeldGpu, ...] = ()
    request_data: tuple[RequestData, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The summary as plain JSON: instants and durations in integer ns, ratios, bytes; units in the names."""
        facts = {"scenario": self.scenario.model_dump(mode="json"), "environment": asdict(self.environment)}
        named = {name: getattr(self, name) for name in self.__slots__ if name not in (*facts, "found")}
        plain: dict[str, Any] = _plain(named | self.found.by_name())
        return {"summary_version": SUMMARY_VERSION} | plain | facts


def summarise(run: RunDirectory, cost: Cost | None = None) -> Summary:
    """Read a run, finished or not. `cost`: in place of that of its scenario. ScenarioError or RunDirectoryError if the directory holds no
    readable run.
    """
    recorded = RecordedRun(run)
    events, cpu_count = recorded.events, recorded.environment.cpu_count
    scenario = recorded.scenario.model_copy(update={"cost": cost}) if cost else recorded.scenario
    results = _measure(recorded, scenario)
    interrupted = is_interrupted(events)
    complete = recorded.came_to_its_end and not interrupted
    measured = MeasuredRun(results, scenario, events, cpu_count, interrupted)
    found = reduce(or_, (role.of_run(measured) for role in roles(ExperimentAnalysis)), Found())
    held = held_gpus(sessions(events)[-1] if events else ())  # a resumed run holds them again
    started = first(events, RunStarted)
    resumed, inputs = resumptions(events), request_data(events, scenario)
    reasons = [*run_reasons(complete, measured, found), *resume_reasons(resumed), *input_reasons(inputs, scenario)]
    reasons += [reason for result in results for reason in _deployment_reasons(result, scenario, cpu_count)]
    reasons += [*gpu_reasons(results, current(events), held), *sample_reasons(results), *damage_reasons(recorded.losses, complete)]
    doubts = Doubts(reasons)
    for role in roles(ExperimentAnalysis):
        found = role.with_doubts(found, doubts)
    return Summary(
        run=recorded.name,
        complete=complete,
        command=shlex.join(started.command if started else ()),
        started_utc=recorded.environment.started_utc,
        wall_s=length_s(events),
        scenario=scenario,
        environment=recorded.environment,
        verdict=verdict(reasons),
        deployments=tuple(replace(result, found=result.found.summarised()) for result in results),
        found=found.summarised(),
        findings=by_severity(with_doubts(_findings(measured, found), doubts)),
        resumptions=resumed,
        held_gpus=held,
        request_data=inputs,
    )


def _measure(recorded: RecordedRun, scenario: Scenario) -> list[DeploymentResult]:
    """Measure one deployment after another, dropping the records of each before the next is read."""
    of_attempts = current(recorded.events)
    results = []
    for one in recorded.deployments():
        own = [event for event in of_attempts if event.deployment == one.name]
        results.append(deployment_result(one, own, scenario, recorded.environment.cpu_count))
    return results


def _deployment_reasons(result: DeploymentResult, scenario: Scenario, cpu_count: int) -> Iterator[Reason]:
    yield from transport_reasons(result)
    for role in roles(ExperimentAnalysis):
        yield from role.deployment_reasons(result, scenario)
    yield from reported_reasons(result, scenario)
    for stage in result.stages:
        yield from stage_reasons(result, stage, scenario, cpu_count)


def _findings(run: MeasuredRun, found: Found) -> Iterator[Finding]:
    """The findings of the core, then those of the experiments. A finding of the core that an experiment explains is left out."""
    experiments: Sequence[ExperimentAnalysis] = tuple(roles(ExperimentAnalysis))
    for result in run.results:
        for finding in deployment_findings(result, run.scenario, run.cpu_count):
            if not any(role.explains(result, finding) for role in experiments):
                yield finding
        for role in experiments:
            yield from role.deployment_findings(result, run.scenario)
    for role in experiments:
        yield from role.run_findings(found)


def _plain(value: Any) -> Any:
    """Convert dataclasses to dicts with string keys and tuples to lists, recursively, without the fields marked NO_FIGURE, and those marked
    IF_KNOWN that are None. Results of experiments become keys of the object in which they were found.
    """
    if hasattr(value, "__dataclass_fields__"):
        shown = {name: one for name, one in value.__dataclass_fields__.items() if one.metadata != NO_FIGURE}
        fields = {name: part for name, one in shown.items() if (part := getattr(value, name)) is not None or one.metadata != IF_KNOWN}
        experiments = fields.pop("found").by_name() if isinstance(fields.get("found"), Found) else {}
        return _plain(fields | experiments)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
