"""Findings of a search for the context limit."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployments import DeploymentResult
from trtbench.analysis.verdict.finding import Finding
from trtbench.experiments.context_limit.analysis import ContextLimits, Limit, PredictedBy
from trtbench.experiments.context_limit.failure import FailureClass

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
"""What sets a limit whose first failure is of this class. A refusal by a length rule is told apart by what theory predicts."""
_LENGTH_RULES: dict[PredictedBy, str] = {
    "positions": "limit_of_positions",
    "prompt": "limit_of_max_input",
    "kv_budget": "limit_of_kv_budget",
}


def limit_findings(result: DeploymentResult) -> Iterator[Finding]:
    """What raises each limit; a server that a long prompt left unable to serve; KV blocks that it kept; a limit that theory does not
    explain."""
    limits = result.context_limits
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
    """One finding a cause, of the fewest users that met it. A search that was interrupted found no limit."""
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
    """A length rule is one that theory knows only where the limit lies where theory puts it."""
    if failure == "length_rule":
        known = limits.predicted_by is not None and limits.agrees(limit) is True
        return _LENGTH_RULES[limits.predicted_by] if known and limits.predicted_by else "limit_of_a_length_rule"
    return _CAUSES.get(failure, "limit_of_another_kind")
