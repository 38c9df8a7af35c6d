"""Findings on failed requests, one for each class of errors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.verdict.finding import Finding, Severity
from trtbench.analysis.verdict.findings.rule import Case

CRITICAL_RATIO = 0.05
"""The share of a stage's planned requests above which a class of errors is critical."""
_OF_A_PROXY = re.compile("RST_STREAM with|of a stream that had served|HTTP status (408|413|502|503|504) ")


def failed_requests(case: Case) -> Iterator[Finding]:
    """Requests failed: a finding for each class, about the stage with the largest share, critical from 5 % on. `errors_proxy` replaces a
    class whose streams were reset, or refused by HTTP status, while their connections stayed open.
    """
    worst: dict[str, tuple[float, StageResult, int]] = {}
    for stage in case.result.stages:
        equation = stage.conservation
        counts = equation.failed_by_class | ({"timeout": equation.timed_out} if equation.timed_out else {})
        for outcome, count in counts.items():
            share = count / equation.planned if equation.planned else 0.0
            if outcome not in worst or share > worst[outcome][0]:
                worst[outcome] = (share, stage, count)
    for outcome, (share, stage, count) in worst.items():
        figures: dict[str, float | str] = {
            "count": count,
            "planned": stage.conservation.planned,
            "share_ratio": share,
            "message": stage.conservation.messages.get(outcome, ""),
        }
        code = f"errors_{outcome}"
        if _OF_A_PROXY.search(str(figures["message"])):
            code, figures["class"] = "errors_proxy", outcome
        severity: Severity = "critical" if share > CRITICAL_RATIO else "warning"
        yield Finding(code, severity, case.result.name, stage.span.name, False, figures)
