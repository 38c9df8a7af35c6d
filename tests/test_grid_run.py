"""A small grid on the real server: cells x repeats in rounds, both batchers read, a verdict on the winner, the stanza as served."""

from __future__ import annotations

from typing import Any

import pytest
from serving.runs import MINI, StartRun, run_of

from trtbench.analysis.summary import summarise
from trtbench.report.frontier import stanza
from trtbench.scenario import load_scenario

pytestmark = [pytest.mark.triton, pytest.mark.timeout(150, func_only=True)]

SCENARIO: dict[str, Any] = MINI | {
    "grid": {"max_sequences": [1, 8], "repeats": 2},
    "workload": {"input_tokens": 8, "output_tokens": 4},
    "load": [{"concurrency": 4, "requests": 20, "warmup_requests": 1}],
}


def test_cells_are_served_in_rounds_and_judged(start_run: StartRun) -> None:
    command = start_run(SCENARIO)
    assert command.wait(120) == 0, command.err
    run = run_of(command)
    scenario = load_scenario(run.path / "scenario.yaml")
    served = [directory.name for directory in run.deployments()]
    assert sorted(served) == ["s1-r1-int8", "s1-r2-int8", "s8-r1-int8", "s8-r2-int8"]
    assert [name[-6] for name in served] == ["1", "1", "2", "2"]
    (frontier,) = summarise(run).frontiers
    assert [(cell.name, cell.repeats, cell.complete) for cell in frontier.cells] == [("s1", 2, True), ("s8", 2, True)]
    one, many = frontier.cells
    assert one.running is not None and one.running <= 1
    assert many.running is not None and many.running > 1
    assert one.mean_batch is not None and many.batch_hit_ratio is not None
    assert frontier.winner is not None and frontier.winner.clear is not None
    for directory in run.deployments():
        config = (directory.path / "config.pbtxt").read_text(encoding="utf-8")
        deployment = scenario.deployments[directory.name.removesuffix("-int8")]
        without_comments = "".join(line + "\n" for line in stanza(deployment).splitlines() if not line.startswith("#"))
        first, rest = without_comments.split("\n", 1)
        assert first in config and rest in config
