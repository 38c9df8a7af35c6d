from __future__ import annotations

from dataclasses import replace

import pytest

from trtbench.analysis.summary import Summary
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.verdict import Reason, Verdict
from trtbench.cli.reporting import invalid_because, show
from trtbench.report.kit.words import LANGUAGES, Words


def failed(summary: Summary, *messages: str) -> Summary:
    """The same run with nothing completed, each message a class of failure."""
    classes = ("errors_too_long", "errors_connection", "errors_timeout", "errors_other")
    findings = tuple(
        Finding(code, "critical", "default-fp16", "c1", figures={"count": 3, "planned": 3, "share_ratio": 1.0, "message": message})
        for code, message in zip(classes, messages, strict=False)
    )
    reasons = (Reason("nothing_completed", "invalid"), Reason("incomplete", "suspect"))
    return replace(summary, verdict=Verdict("INVALID", reasons), findings=findings)


def test_a_run_that_fails_entirely_says_why(summary: Summary, capsys: pytest.CaptureFixture[str]) -> None:
    show(failed(summary, "904 tokens never fit 768 \x1b[2J"), "en")
    said = capsys.readouterr().out
    assert "INVALID (reasons in the report: 2)\nNot one request completed.\n" in said
    assert "3 of 3 requests" in said
    assert "ended as too_long. Most frequent message: 904 tokens never fit 768 \\x1b[2J\n" in said
    assert "Shorten workload.input_tokens or output_tokens" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_few_classes_are_enough(summary: Summary, language: str) -> None:
    words = Words("zh" if language == "zh" else "en")
    assert len(list(invalid_because(failed(summary, "a", "b", "c", "d"), words))) == 1 + 2 * 3


def test_a_run_that_can_be_used_says_nothing_more(summary: Summary) -> None:
    assert list(invalid_because(replace(summary, verdict=Verdict("SUSPECT", (Reason("incomplete", "suspect"),))), Words("en"))) == []
