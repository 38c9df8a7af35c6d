from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from trtbench.run.log import start_run
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import ServerReady, ServerStarting
from trtbench.rundir.records import Event
from trtbench.scenario.reading import load_scenario, parse_scenario
from trtbench.scenario.scenario import Scenario

pytestmark = pytest.mark.whole_run

SCENARIO: Scenario = parse_scenario({"name": "mini", "load": [{"concurrency": 1, "requests": 1}]}, "mini")


def test_a_run_starts_with_its_scenario_its_environment_and_its_first_event(tmp_path: Path) -> None:
    heard: list[Event] = []
    log = start_run(tmp_path / "runs", SCENARIO, ["trtbench", "serve-and-bench"], heard.append)
    assert re.fullmatch(r"\d{8}T\d{6}Z-mini", log.run.path.name)
    assert load_scenario(log.run.path / "scenario.yaml") == SCENARIO
    run = RunDirectory.open(log.run.path)
    assert run.environment().started_utc.startswith(f"{log.run.path.name[:4]}-")
    (event,) = run.events()
    assert event == heard[0]
    assert (event.kind, event.data["command"], event.data["path"]) == ("run_started", ["trtbench", "serve-and-bench"], str(log.run.path))
    assert not run.is_complete()


def test_runs_of_one_second_get_directories_of_their_own(tmp_path: Path) -> None:
    paths = {start_run(tmp_path, SCENARIO, [], lambda event: None).run.path for _ in range(4)}
    assert len(paths) == 4


def test_events_are_written_and_shown_and_some_are_only_shown(tmp_path: Path) -> None:
    heard: list[Event] = []
    log = start_run(tmp_path, SCENARIO, [], heard.append)
    log.show(ServerStarting(), "default-fp16")
    log.write(ServerReady(seconds=1.5), "default-fp16")
    lines = (log.run.path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["run_started", "server_ready"]
    assert [event.kind for event in heard] == ["run_started", "server_starting", "server_ready"]
    assert [event.time_ns for event in heard] == sorted(event.time_ns for event in heard)
