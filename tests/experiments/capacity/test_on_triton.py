"""The search on the real server and engine: found to its end, and interrupted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.command import Command, ran
from tests.support.triton.started_run import StartRun, run_of, the_deployment
from trtbench.analysis.summary import summarise
from trtbench.experiments.capacity.capacity_found import CAPACITY
from trtbench.rundir.directory import RunDirectory

pytestmark = [pytest.mark.triton, pytest.mark.timeout(240, func_only=True)]

SEARCH: dict[str, Any] = {
    "name": "capacity",
    "engines": ["int8"],
    "workload": {"input_tokens": 8, "output_tokens": 2},
    "capacity": {"slo": ["ttft:100s,p50", "e2e:100s,p50"], "most": 2, "probe_s": 15, "probe_requests": 60},
    "telemetry": {"interval_ms": 100},
}


@pytest.mark.alone  # other tests would keep the client from its processor, which the search then says
def test_a_search_up_to_its_largest_load(start_run: StartRun) -> None:
    command = start_run(SEARCH)
    assert ran(command.wait(200), command.directory), command.err
    run = run_of(command)
    summary = summarise(run)
    found = summary.deployments[0].found[CAPACITY]
    assert found and (found.ended, found.outcome.answer) == ("done", "never_breaks")
    assert [(probe.level, probe.phase) for probe in found.probes] == [(1, "bracket"), (2, "bracket"), (2, "confirm")]
    assert found.outcome.bracket.confirmed and found.holding and found.holding.request_throughput
    repeat = found.probes[-1]
    assert repeat.clauses[0].requests > found.probes[1].clauses[0].requests / 2
    records = the_deployment(run).requests()
    assert {record.stage for record in records} == {probe.stage for probe in found.probes}
    prompts = {tuple(row["input_ids"]) for row in plan_rows(run)}
    assert len(prompts) > 60, "every probe has prompts of its own"
    text = (run.path / "report.md").read_text("utf-8")
    assert "## Capacity" in text and "ttft:100000,p50" in text


def plan_rows(run: RunDirectory) -> list[dict[str, Any]]:
    lines = the_deployment(run).plan_jsonl.read_text().splitlines()
    return [row for row in map(json.loads, lines) if "input_ids" in row]


def begun(command: Command) -> bool:
    runs = command.directory / "runs"
    events = [event.kind for path in runs.glob("*") if (path / "environment.json").exists() for event in RunDirectory.open(path).events()]
    return events.count("capacity_probe") >= 1


def test_ctrl_c_keeps_the_probes_and_says_what_is_known(start_run: StartRun) -> None:
    command = start_run(SEARCH | {"capacity": SEARCH["capacity"] | {"most": 1024}})
    command.wait_for(lambda: begun(command))
    command.interrupt()
    assert command.wait() == 130
    summary = summarise(run_of(command))
    found = summary.deployments[0].found[CAPACITY]
    assert found and found.ended == "interrupted" and found.probes
    assert not summary.complete and found.outcome.bracket.breaks is None
    assert "the search was cut short" in (run_of(command).path / "report.md").read_text("utf-8")
    command.assert_nothing_left()
