"""A small grid on the real server, searched, interrupted and resumed: rounds, both batchers, the winner, the stanza as served."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.command import Command, ran
from tests.support.triton.started_run import MINI, StartRun, run_of
from trtbench.analysis.summary import summarise
from trtbench.experiments.grid.frontier import FRONTIERS
from trtbench.experiments.grid.report import stanza
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.reading import load_scenario

pytestmark = [pytest.mark.triton, pytest.mark.timeout(150, func_only=True)]

SCENARIO: dict[str, Any] = MINI | {
    "grid": {"max_sequences": [1, 8], "repeats": 3, "search": True},
    "workload": {"input_tokens": 8, "output_tokens": 4},
    "load": [{"concurrency": 4, "requests": 20, "warmup_requests": 1}],
}


def begun(run: RunDirectory) -> list[str]:
    return [event.deployment for event in run.events() if event.kind == "stage_started"]


def test_cells_are_served_in_rounds_and_judged(start_run: StartRun) -> None:
    command = start_run(SCENARIO)
    command.wait_for(lambda: any((command.directory / "runs").glob("*/events.jsonl")) and len(begun(run_of(command))) == 2)
    command.interrupt()
    assert command.wait(60) == 130
    run = run_of(command)
    assert f"--resume {run.path}" in command.err
    first, second = begun(run)
    kept = {path: path.read_bytes() for path in (run.path / first).glob("*.parquet")}
    again = Command(command.directory / "again", "serve-and-bench", "--resume", str(run.path))
    assert ran(again.wait(120), run.path), again.err
    again.assert_nothing_left()
    assert {path: path.read_bytes() for path in (run.path / first).glob("*.parquet")} == kept and len(kept) == 2
    assert (run.path / "set-aside" / f"{second}-1" / "requests.parquet").is_file()
    scenario = load_scenario(run.path / "scenario.yaml")
    served = [directory.name for directory in run.deployments()]
    assert [name[-6] for name in served] == ["1", "1", "2", "2", "3", "3"][: len(served)]
    assert {name[:4] for name in served} == {"s1-r", "s8-r"}
    decided = [event.data["round"] for event in run.events() if event.kind == "race_decided"]
    assert decided[:2] == [1, 2]
    summary = summarise(run)
    assert summary.complete and len(summary.resumptions) == 1 and summary.resumptions[0].again == (second,)
    (frontier,) = summary.found[FRONTIERS]
    assert frontier.search is not None and (frontier.search.planned, frontier.search.spent) == (6, len(served))
    one, many = frontier.cells
    assert one.exact and many.exact
    assert one.seen_batch == 1 and one.in_company_ratio == 0
    assert many.seen_batch is not None and many.seen_batch > 1 and many.in_company_ratio is not None and many.in_company_ratio > 0.5
    assert one.mean_batch is not None and many.batch_hit_ratio is not None
    assert frontier.winner is not None and frontier.winner.clear is not None
    for directory in run.deployments():
        config = (directory.path / "config.pbtxt").read_text(encoding="utf-8")
        deployment = scenario.deployments[directory.name.removesuffix("-int8")]
        without_comments = "".join(line + "\n" for line in stanza(deployment).splitlines() if not line.startswith("#"))
        head, rest = without_comments.split("\n", 1)
        assert head in config and rest in config
