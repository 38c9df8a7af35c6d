"""What an experiment adds to the analysis of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.facts import DeploymentFacts
from trtbench.analysis.found import Found
from trtbench.analysis.loader import PromptDigests
from trtbench.analysis.stage.kv_cache import Residency
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.verdict import Doubts, Reason
from trtbench.experiments.registry import Role
from trtbench.rundir.records import Event
from trtbench.rundir.requests import Requests
from trtbench.rundir.samples import Samples
from trtbench.scenario.scenario import Scenario


@dataclass(frozen=True, slots=True)
class DeploymentRecords:
    """The records of one deployment. They are dropped before the next deployment is read, because a run of a day has millions.

    `events`: those of this deployment. `prompts`: reads the digests of the saved plan.
    """

    events: Sequence[Event]
    requests: Requests
    samples: Samples
    stages: tuple[StageResult, ...]
    residency: Residency
    facts: DeploymentFacts
    scenario: Scenario
    cpu_count: int
    prompts: Callable[[], PromptDigests]


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """All deployments of a run with their results. `events`: those of all attempts."""

    results: Sequence[DeploymentResult]
    scenario: Scenario
    events: Sequence[Event]
    cpu_count: int
    interrupted: bool


def _nothing(*_: Any) -> tuple[()]:
    return ()


def _found_nothing(_: object) -> Found:
    return Found()


def _no(*_: Any) -> bool:
    return False


@dataclass(frozen=True)
class ExperimentAnalysis(Role):
    """The object `ANALYSIS` in `analysis.py` of an experiment. An experiment provides those of these functions for which it has an answer.

    `of_deployment` and `of_run` put a value under each key of the experiment, whether the run has that experiment or not.
    `deployment_findings` and `run_findings` make findings of these values, `deployment_reasons` and `run_reasons` reasons for doubt.

    - `with_doubts`: the results of the run, each with the doubts about the stages that it is based on.
    - `has_answer`: whether a deployment has a result although no request of a stage completed.
    - `explains`: whether the experiment is the cause of a finding of the core and reports on it itself; the core then drops its own.
    - `resets_counters`: whether the scenario makes the server lose its counts, so that they cannot be compared with the client's.
    """

    MODULE: ClassVar[str] = "analysis"

    of_deployment: Callable[[DeploymentRecords], Found] = _found_nothing
    of_run: Callable[[MeasuredRun], Found] = _found_nothing
    deployment_reasons: Callable[[DeploymentResult, Scenario], Iterable[Reason]] = _nothing
    run_reasons: Callable[[MeasuredRun, Found], Iterable[Reason]] = _nothing
    deployment_findings: Callable[[DeploymentResult, Scenario], Iterable[Finding]] = _nothing
    run_findings: Callable[[Found], Iterable[Finding]] = _nothing
    with_doubts: Callable[[Found, Doubts], Found] = lambda found, _: found
    has_answer: Callable[[DeploymentResult], bool] = _no
    explains: Callable[[DeploymentResult, Finding], bool] = _no
    resets_counters: Callable[[Scenario], bool] = _no
