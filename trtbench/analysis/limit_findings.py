"""Findings of a search for the context limit."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployments import DeploymentResult
from trtbench.analysis.findings import Finding


def limit_findings(result: DeploymentResult) -> Iterator[Finding]:
    """A server that a long prompt left unable to serve, KV blocks that it kept, a limit that theory does not explain."""
    limits = result.context_limits
    if limits is None:
        return
    if limits.unhealthy:
        worst = limits.unhealthy[0]
        yield Finding("limit_unhealthy", "critical", result.name, figures={"tokens": worst.input_tokens, "count": len(limits.unhealthy)})
    if limits.leaking:
        worst = max(limits.leaking, key=lambda trial: trial.blocks_left or 0)
        yield Finding("limit_blocks_left", "warning", result.name, figures={"tokens": worst.input_tokens, "blocks": worst.blocks_left or 0})
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
