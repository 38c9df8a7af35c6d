"""The analysis of a search for the capacity: the finding that states it, and reasons to doubt it."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.experiment_analysis import DeploymentRecords, ExperimentAnalysis, MeasuredRun
from trtbench.analysis.found import Found
from trtbench.analysis.verdict.finding import Finding, Severity
from trtbench.analysis.verdict.verdict import Reason
from trtbench.experiments.capacity.bracketing import Answer
from trtbench.experiments.capacity.capacity_found import CAPACITY, CapacityFound, capacity_found
from trtbench.scenario.scenario import Scenario

_CODES: dict[Answer, str] = {
    "between": "capacity_between",
    "never_holds": "capacity_never_holds",
    "never_breaks": "capacity_never_breaks",
    "client_bound": "capacity_client_bound",
    "not_shown": "capacity_not_shown",
}
_LIMITS = ("between", "never_holds")
"""The answers that name a limit of the server."""


def capacity_findings(result: DeploymentResult, _: Scenario) -> Iterator[Finding]:
    """One finding, with the capacity, what broke first above it, and the stages that show both."""
    found = result.found[CAPACITY]
    if found is None or not found.probes:
        return
    bracket, holding, breaking = found.outcome.bracket, found.holding, found.breaking
    rests_on = tuple((result.name, probe.stage) for probe in (holding, breaking) if probe)
    worst = next((one for one in breaking.clauses if one.clause == breaking.broken_by[0]), None) if breaking else None
    figures: dict[str, float | str] = {
        "holds": bracket.holds or 0,
        "breaks": bracket.breaks or 0,
        "by": found.by,
        "slo": ", ".join(found.slo),
        "most": max(probe.level for probe in found.probes),
        "least": min(probe.level for probe in found.probes),
        "broke": breaking.broken_by[0] if breaking else "-",
        "kept_ratio": "-" if worst is None or worst.kept_ratio is None else worst.kept_ratio,
        "rate_per_s": "-" if holding is None or holding.request_throughput is None else holding.request_throughput,
        "probed": breaking.stage if breaking else "-",
    }
    answer = found.outcome.answer
    severity: Severity = "warning" if answer in ("never_holds", "client_bound") else "info"
    yield Finding(_CODES[answer], severity, result.name, limits=answer in _LIMITS, figures=figures, rests_on=rests_on)


def capacity_reasons(deployment: str, found: CapacityFound) -> Iterator[Reason]:
    """Reasons to doubt a capacity: a search that was cut short, a repeat that did not agree, loads that are not as close as requested."""
    bracket = found.outcome.bracket
    if found.ended != "done":
        yield Reason("capacity_cut_short", "suspect", deployment, figures={"why": found.ended, "count": len(found.probes)})
        return
    if bracket.holds is not None and not bracket.confirmed:
        yield Reason("capacity_unconfirmed", "suspect", deployment, figures={"level": bracket.holds})
    if bracket.refuted:
        levels = ", ".join(f"{level:g}" for level in bracket.refuted)
        yield Reason("capacity_refuted", "note", deployment, figures={"levels": levels})
    if not found.outcome.resolved:
        yield Reason("capacity_unresolved", "note", deployment, figures={"count": len(found.probes)})


def _run_reasons(run: MeasuredRun, _: Found) -> Iterator[Reason]:
    for result in run.results:
        found = result.found[CAPACITY]
        if found and not run.interrupted:
            yield from capacity_reasons(result.name, found)


def _of_deployment(records: DeploymentRecords) -> Found:
    return Found().put(CAPACITY, capacity_found(records.events, records.stages))


ANALYSIS = ExperimentAnalysis(of_deployment=_of_deployment, run_reasons=_run_reasons, deployment_findings=capacity_findings)
