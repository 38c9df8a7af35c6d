"""The analysis of a search for the context limit: its findings, and reasons to doubt a limit."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.experiment_analysis import DeploymentRecords, ExperimentAnalysis, MeasuredRun
from trtbench.analysis.found import Found
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.verdict import Reason
from trtbench.experiments.context_limit.context_limits import CONTEXT_LIMITS, ContextLimits, Limit, PredictedBy, context_limits
from trtbench.experiments.context_limit.trials import FailureClass
from trtbench.scenario.scenario import Scenario

_CAUSES: dict[FailureClass, str] = {
    "kv_exhausted": "limit_of_kv_budget",
    "shortened": "limit_of_shortened_output",
    "device_out_of_memory": "limit_of_device_memory",
    "host_out_of_memory": "limit_of_host_memory",
    "low_memory": "limit_of_host_memory",
    "oom_killed": "limit_of_host_memory",
    "oom_likely": "limit_of_host_memory",
    "out_of_memory": "limit_of_memory",
    "timeout": "limit_of_time",
    "server_died": "limit_of_a_crash",
    "connection_broken": "limit_of_a_crash",
    "rejected": "limit_of_the_queue",
}
"""The resource that sets a limit, by the class of the first failure. Refusals by a length rule are distinguished by the prediction of
theory.
"""
_LENGTH_RULES: dict[PredictedBy, str] = {
    "positions": "limit_of_positions",
    "prompt": "limit_of_max_input",
    "kv_budget": "limit_of_kv_budget",
}


def limit_findings(result: DeploymentResult, _: Scenario) -> Iterator[Finding]:
    """Findings on what would raise each limit, on a server that a long prompt left unable to serve, on KV blocks that were not
    released, and on a limit that theory does not explain.
    """
    limits = result.found[CONTEXT_LIMITS]
    if limits is None:
        return
    if limits.unhealthy:
        worst = limits.unhealthy[0]
        yield Finding("limit_unhealthy", "critical", result.name, figures={"tokens": worst.input_tokens, "count": len(limits.unhealthy)})
    if limits.leaking:
        worst = max(limits.leaking, key=lambda trial: trial.blocks_left or 0)
        yield Finding("limit_blocks_left", "warning", result.name, figures={"tokens": worst.input_tokens, "blocks": worst.blocks_left or 0})
    yield from _what_raises_it(result, limits)
    for limit in limits.limits:
        if limits.agrees(limit) is False:
            figures: dict[str, float | str] = {
                "users": limit.users,
                "passed_tokens": limit.passed_tokens or 0,
                "failed_tokens": limit.failed_tokens or 0,
                "predicted_tokens": limits.predicted_tokens or 0,
                "said": limit.error or str(limit.failure),
            }
            yield Finding("limit_not_as_predicted", "info", result.name, figures=figures)


def _what_raises_it(result: DeploymentResult, limits: ContextLimits) -> Iterator[Finding]:
    """A finding for each cause, with the smallest number of users that it limits. An interrupted search found no limit."""
    said: set[str] = set()
    for limit in sorted(limits.limits, key=lambda limit: limit.users):
        if limit.failure is None or limit.failure == "cancelled":
            continue
        code = _cause(limits, limit, limit.failure)
        if code not in said:
            said.add(code)
            figures: dict[str, float | str] = {
                "users": limit.users,
                "passed_tokens": limit.passed_tokens or 0,
                "failed_tokens": limit.failed_tokens or 0,
                "failure": limit.failure,
            }
            yield Finding(code, "info", result.name, figures=figures)


def _cause(limits: ContextLimits, limit: Limit, failure: FailureClass) -> str:
    """The cause of a limit. A length rule that theory knows is the cause only if the limit is where theory predicts it."""
    if failure == "length_rule":
        known = limits.predicted_by is not None and limits.agrees(limit) is True
        return _LENGTH_RULES[limits.predicted_by] if known and limits.predicted_by else "limit_of_a_length_rule"
    return _CAUSES.get(failure, "limit_of_another_kind")


def _run_reasons(run: MeasuredRun, _: Found) -> Iterator[Reason]:
    for result in run.results:
        limits = result.found[CONTEXT_LIMITS]
        if limits and not run.interrupted:
            yield from limit_reasons(result.name, limits)


def limit_reasons(deployment: str, limits: ContextLimits) -> Iterator[Reason]:
    """Reasons to doubt a context limit: an interrupted search, repeated trials with another result, a server that did not recover."""
    short = limits.memory_short
    if short:
        figures = {"limit_bytes": short.limit_bytes, "available_bytes": short.available_bytes}
        yield Reason(f"limit_memory_{short.kind}", "suspect", deployment, figures=figures)
    elif limits.ended != "done":
        yield Reason("limit_cut_short", "suspect", deployment, figures={"why": limits.ended})
    for limit in limits.limits:
        where = {"users": limit.users, "count": limit.refuted}
        if limit.refuted:
            yield Reason("limit_refuted", "suspect", deployment, figures=where)


def _has_answer(result: DeploymentResult) -> bool:
    limits = result.found[CONTEXT_LIMITS]
    return bool(limits and limits.limits)


def _of_deployment(records: DeploymentRecords) -> Found:
    return Found().put(CONTEXT_LIMITS, context_limits(records.events, records.requests, records.samples, records.facts))


ANALYSIS = ExperimentAnalysis(
    of_deployment=_of_deployment, run_reasons=_run_reasons, deployment_findings=limit_findings, has_answer=_has_answer
)
