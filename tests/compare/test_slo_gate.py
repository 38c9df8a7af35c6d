"""`slo.gate: true`: whether enough requests of a run kept the limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.runs.compared_run import write_compared_run
from trtbench.compare.compared_runs import ReadRun
from trtbench.compare.slo_gate import slo_decisions
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario


def outcomes(path: Path, slo: dict[str, Any], requests: int = 400) -> list[str]:
    write_compared_run(path, 1, requests=requests, scenario={"slo": slo})
    return [one.outcome for one in slo_decisions(ReadRun(path))]


@pytest.mark.whole_run
@pytest.mark.parametrize(
    ("limit_ms", "outcome"),
    [(1000.0, "passed"), (45.0, "failed"), (75.0, "undecided")],
)
def test_the_share_of_good_requests_decides(tmp_path: Path, limit_ms: float, outcome: str) -> None:
    """Latencies are 50 ms in the median, and at most 75 ms in about 98 %."""
    slo = {"e2e_latency_ms": limit_ms, "gate": True, "least_good_ratio": 0.98}
    assert outcomes(tmp_path / "run", slo) == [outcome]


@pytest.mark.whole_run
def test_without_a_gate_nothing_is_decided_and_few_requests_are_undecided(tmp_path: Path) -> None:
    assert outcomes(tmp_path / "plain", {"e2e_latency_ms": 1.0}) == []
    assert outcomes(tmp_path / "few", {"e2e_latency_ms": 1000.0, "gate": True}, requests=60) == ["undecided"]


@pytest.mark.parametrize(("slo", "said"), [({"gate": True}, "needs a limit"), ({"ttft_ms": 9, "least_good_ratio": 0.9}, "is for the gate")])
def test_a_gate_needs_a_limit_and_a_ratio_a_gate(slo: dict[str, Any], said: str) -> None:
    tree = {
        "name": "x",
        "model": "smollm2-135m",
        "workload": {"input_tokens": 8, "output_tokens": 2},
        "load": [{"concurrency": 1, "requests": 2}],
    }
    with pytest.raises(ScenarioError, match=said):
        parse_scenario(tree | {"slo": slo}, "x")
