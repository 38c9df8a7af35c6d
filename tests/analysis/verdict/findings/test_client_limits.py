"""Prompts that come back, and answers that come in one response."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.finding_rules import found, in_one_response, same
from trtbench.analysis.summary import Summary
from trtbench.analysis.verdict.findings.rules import deployment_findings


def test_prompts_that_come_back(summary: Summary) -> None:
    echoing = replace(summary.deployments[1], echoed=7)
    codes = {finding.code: finding for finding in deployment_findings(echoing, summary.scenario, 2)}
    assert codes["prompt_echoed"].figures["count"] == 7
    assert "prompt_echoed" not in found(summary, same)


@pytest.mark.parametrize(
    ("first_ratio", "gaps", "tokens", "expected"),
    [(0.99, 0, 32.0, True), (0.99, 400, 32.0, False), (0.5, 0, 32.0, False), (0.99, 0, 2.0, False)],
    ids=["at once", "a stream", "long after the first", "short answers"],
)
def test_answers_in_one_response(summary: Summary, first_ratio: float, gaps: int, tokens: float, expected: bool) -> None:
    assert ("streaming_off" in found(summary, in_one_response(first_ratio, gaps, tokens))) is expected
