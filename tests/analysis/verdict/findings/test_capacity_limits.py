"""How certain a knee is: moved by resampling, next to a stage whose throughput fell, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from trtbench.analysis.deployment_result import curve_stages
from trtbench.analysis.stats.knee import LoadPoint, find_knee
from trtbench.analysis.summary import Summary
from trtbench.analysis.verdict.finding import Finding, with_doubts
from trtbench.analysis.verdict.findings.capacity_limits import knee
from trtbench.analysis.verdict.findings.rule import Case
from trtbench.analysis.verdict.verdict import Doubt, Doubts
from trtbench.report.kit.words import Words
from trtbench.scenario.parts.choices import Language

SURE, UNSURE = (1.0, 1.0, 1.0, 1.0), (0.6, 1.4, 0.6, 1.4)


def found(summary: Summary, rates: Sequence[float], blocks: Sequence[float] = SURE) -> Finding:
    """The finding on the knee of FP16 if its stages had these rates, and parts that vary by these factors."""
    result = summary.deployments[0]
    levels = [stage.level for stage in curve_stages(result.stages)]
    points = [LoadPoint(level, rate, tuple((rate * np.array(blocks)).tolist())) for level, rate in zip(levels, rates, strict=True)]
    (finding,) = knee(Case(replace(result, knee=find_knee(points)), summary.scenario, 2))
    return next(iter(with_doubts([finding], Doubts([]))))


def test_a_clear_knee_is_likely_and_says_in_how_many_resamples(summary: Summary) -> None:
    finding = found(summary, (50, 150, 152))
    assert (finding.code, finding.confidence, finding.doubts) == ("knee", "likely", ())
    assert finding.figures["agreement_ratio"] == 1.0


def test_a_knee_that_chance_could_move_is_possible(summary: Summary) -> None:
    finding = found(summary, (50, 150, 158), UNSURE)
    assert finding.confidence == "possible" and finding.doubts == (Doubt("default-fp16", "c8", "knee_moves"),)
    assert float(finding.figures["agreement_ratio"]) < 0.9
    growing = found(summary, (50, 150, 165), UNSURE)
    assert (growing.code, growing.doubts) == ("no_knee", (Doubt("default-fp16", "c4", "knee_moves"),))


SAID = [("en", "Possible: The knee is at 4 users (default-fp16 c8: "), ("zh", "可能：拐点在 4 并发（default-fp16 c8：")]


@pytest.mark.parametrize(("language", "said"), SAID)
def test_a_knee_next_to_a_stage_of_half_the_throughput_is_possible(summary: Summary, language: Language, said: str) -> None:
    finding = found(summary, (50, 150, 80))
    assert finding.confidence == "possible" and finding.doubts == (Doubt("default-fp16", "c8", "rate_fell"),)
    words = Words(language)
    assert words.doubted(words.finding("knee", "title", finding.figures), finding.doubts).startswith(said)
