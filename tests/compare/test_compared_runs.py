"""Comparisons of runs with rounds, and of stages that other processes disturbed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from scipy import stats

from tests.support.runs.repeated_run import repeated_scenario, rounds
from tests.support.runs.written_run import write_run
from trtbench.analysis.named_figures import named_figures
from trtbench.compare.compared_runs import Comparison, ReadRun, compare
from trtbench.compare.decision import decide
from trtbench.compare.gate import read_gate

pytestmark = pytest.mark.whole_run
METRICS = tuple(named_figures()[name] for name in ("e2e_latency.p50", "request_throughput", "error_ratio"))


def compared(path: Path, base_ms: Sequence[int], candidate_ms: Sequence[int]) -> Comparison:
    for name, latencies_ms in (("base", base_ms), ("candidate", candidate_ms)):
        write_run(path / name, repeated_scenario(len(latencies_ms)), *rounds({"c1": latencies_ms, "second": latencies_ms}))
    return compare(ReadRun(path / "base"), ReadRun(path / "candidate"), METRICS)


def test_rounds_are_compared_in_pairs(tmp_path: Path) -> None:
    """The spread from round to round is the same in both runs, so that their difference has a narrow interval."""
    comparison = compared(tmp_path, (40, 60, 80, 50), (45, 66, 88, 56))
    assert [one.deployment for one in comparison.differences] == ["default-int8"] * 6
    latency = comparison.differences[0]
    known = stats.t.interval(0.95, 3, 1.11125 - 1, stats.sem([45 / 40, 66 / 60, 88 / 80, 56 / 50]))
    assert latency.rounds == 4
    assert latency.change.bounds() == pytest.approx(known, rel=1e-3)
    assert latency.call(0.02, 6) == "worse"
    (decision,) = decide([read_gate("c1:e2e_latency.p50>+5%")], comparison.differences)
    assert decision.outcome == "failed"


def test_an_undecided_condition_says_how_many_more_rounds_would_decide(tmp_path: Path) -> None:
    comparison = compared(tmp_path, (40, 60, 80), (48, 58, 90))
    (decision,) = decide([read_gate("c1:e2e_latency.p50>+5%")], comparison.differences)
    assert decision.outcome == "undecided" and decision.more_rounds > 0


def test_rounds_that_only_one_run_has_are_listed(tmp_path: Path) -> None:
    comparison = compared(tmp_path, (40, 60, 80), (40, 60))
    assert comparison.unpaired == ("default-r3-int8",)
    assert {one.rounds for one in comparison.differences} == {2}
