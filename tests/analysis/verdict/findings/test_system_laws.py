"""Laws that do not hold are said, those that do are not; a peak only with an interval that can be used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.finding_rules import found, growing, law_of_users, not_lawful, same
from trtbench.analysis.stage.littles_law import Why
from trtbench.analysis.summary import Summary
from trtbench.analysis.verdict.findings.rules import deployment_findings


@pytest.mark.parametrize("why", ["failures", "growth", "idle", "unknown"])
def test_a_law_that_does_not_hold_has_its_reason(summary: Summary, why: Why) -> None:
    codes = found(summary, not_lawful(why))
    assert {code for code in codes if code.startswith("law_")} == {f"law_{why}"}
    assert codes[f"law_{why}"].figures["difference"] == 3.0


def test_a_law_that_holds_is_no_finding(summary: Summary) -> None:
    assert not any(code.startswith("law_") for code in found(summary, not_lawful("")))
    assert not any(code.startswith("law_") for code in found(summary, lambda stage: replace(stage, littles_law=None)))


@pytest.mark.parametrize(
    ("contention", "coherency", "levels", "expected"),
    [(0.05, 0.002, (1, 2, 4, 8, 16, 32), True), (0.05, 0.0, (1, 2, 4, 8, 16, 32), False), (0.05, 0.002, (1, 2, 4, 8), False)],
    ids=["a peak", "no coherency, no peak", "four levels"],
)
def test_the_users_of_highest_throughput(
    summary: Summary, contention: float, coherency: float, levels: tuple[int, ...], expected: bool
) -> None:
    result = replace(summary.deployments[1], user_law=law_of_users(contention, coherency, levels))
    codes = {finding.code: finding for finding in deployment_findings(result, summary.scenario, 2)}
    assert ("user_peak" in codes) is expected
    assert not expected or (codes["user_peak"].figures["peak_users"], codes["user_peak"].rests_on != ()) == (22, True)


@pytest.mark.parametrize(
    ("series", "code"), [("server_rss_bytes", "creep_bytes"), ("kv_blocks_used", "creep_count"), ("first_answer_ns", "creep_ns")]
)
def test_growth_with_its_interval_above_zero(summary: Summary, series: str, code: str) -> None:
    assert code in found(summary, growing(series))
    assert code not in found(summary, growing(series, low=-0.01)), "its interval contains zero"
    assert code not in found(summary, growing(series, late=0.001)), "it was a warm-up"
    assert code not in found(summary, same)


def test_errors_that_grow_by_half_a_percent(summary: Summary) -> None:
    assert "creep_ratio" in found(summary, growing("error_ratio", start=0.006))
    assert "creep_ratio" not in found(summary, growing("error_ratio", start=0.004))
