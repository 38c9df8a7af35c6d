"""What a server does not tell: how many tokens it sent, or what its engine does. Figures that need it are not shown, and this says why."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.verdict.verdict import Grade, Reason
from trtbench.scenario.scenario import Scenario
from trtbench.tasks.registry import TASKS


def told_reasons(result: DeploymentResult, scenario: Scenario) -> Iterator[Reason]:
    """Of one deployment's server."""
    tokens = result.facts.tokens
    counting = result.counting
    if counting.unknown:
        yield Reason("tokens_unknown", "invalid", result.name, figures={"family": str(tokens.get("family"))})
    checked: dict[str, float | str] = {
        "compared": counting.compared,
        "error_ratio": "-" if counting.error_ratio is None else counting.error_ratio,
    }
    if counting.estimated:
        most = "-" if counting.uncertain_ratio is None else counting.uncertain_ratio
        grade: Grade = "note" if counting.is_sure else "suspect"
        yield Reason("tokens_estimated", grade, result.name, figures={"count": counting.estimated, "uncertain_ratio": most, **checked})
    if counting.by_length:
        yield Reason("tokens_by_length", "note", result.name, figures={"count": counting.by_length, **checked})
    if tokens.get("input_counts") == "tokenizer":
        yield Reason("input_by_tokenizer", "note", result.name)
    if scenario.workload.ignore_eos and tokens.get("forces_length") is False:
        yield Reason("length_not_forced", "note", result.name)
    if result.echoed:
        yield Reason("prompt_echoed", "note", result.name, figures={"count": result.echoed})
    if result.tokens_beyond_ours:
        yield Reason("tokens_differ", "suspect", result.name, figures={"tokens": result.tokens_beyond_ours})
    if result.stale_pages:
        yield Reason("stale_gauges", "note", result.name, figures={"count": result.stale_pages})
    if result.missing_metrics and result.stages and TASKS[scenario.task].batches_in_flight:
        code = "metrics_unreadable" if result.page_fault else "metrics_missing" if result.reads_metrics else "metrics_not_read"
        fault = {"error": result.page_fault} if result.page_fault else {}
        yield Reason(code, "note", result.name, figures={"families": ", ".join(result.missing_metrics), **fault})
