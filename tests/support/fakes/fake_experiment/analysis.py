"""An experiment that counts the requests of each deployment."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.experiment_analysis import DeploymentRecords, ExperimentAnalysis, MeasuredRun
from trtbench.analysis.found import Found, Key
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.verdict import Reason
from trtbench.scenario.scenario import Scenario

COUNTED: Key[int] = Key("counted_requests")
TOTAL: Key[int] = Key("counted_requests_total")


def _reasons(result: DeploymentResult, _: Scenario) -> Iterator[Reason]:
    yield Reason("reloads_once", "note", result.name)  # which has words


def _findings(result: DeploymentResult, _: Scenario) -> Iterator[Finding]:
    yield Finding("server_fault", "info", result.name, figures={"cause": f"{result.found[COUNTED]} requests"})  # which has words


def _of_run(run: MeasuredRun) -> Found:
    return Found().put(TOTAL, sum(result.found[COUNTED] for result in run.results))


def _of_deployment(records: DeploymentRecords) -> Found:
    return Found().put(COUNTED, len(records.requests))


ANALYSIS = ExperimentAnalysis(
    of_deployment=_of_deployment,
    of_run=_of_run,
    deployment_reasons=_reasons,
    deployment_findings=_findings,
    explains=lambda _, finding: finding.code == "knee",
)
