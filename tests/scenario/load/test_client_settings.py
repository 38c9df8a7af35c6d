"""Keys of the client of which only one value is left: others are refused where a run begins, and read in runs that were made before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.support.records import MS, S, request_of
from tests.support.runs.written_run import Served, window, write_run
from trtbench.cli.main import main
from trtbench.run.resume import open_unfinished
from trtbench.rundir.records import Event
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import load_run_scenario, load_scenario, parse_scenario

TREE: dict[str, Any] = {"name": "x", "engines": ["int8"], "load": [{"concurrency": 1, "requests": 40}]}
OVER_GRPC = {"transport": "grpc", "compression": "gzip", "channel_options": {"grpc.http2.max_frame_size": 65_536, "grpc.optimization": "a"}}
FACTS = {
    "transport": "grpc",
    "stamps": "user",
    "stamps_why": "transport grpc reads its sockets itself",
    "loop": "asyncio",
    "connections": 4,
}


@pytest.fixture
def run_over_grpc(tmp_path: Path) -> Path:
    """As a version that had this transport left it."""
    made = [request_of(i * 50 * MS, [(i * 50 + 20 + 5 * n) * MS for n in range(4)], index=i, stage="c1") for i in range(40)]
    told = Event(3 * S, "load_client", "", {"workers": [FACTS | {"compression": "gzip", "streams_renewed": 0, "requests_resent": 0}]})
    served = Served(made, [window("c1", 0, 3 * S, 40)], events=[told])
    run = write_run(tmp_path / "run", parse_scenario(TREE, "x"), served)
    path = run.path / "scenario.yaml"
    tree = yaml.safe_load(path.read_text())
    tree["client"] |= OVER_GRPC
    path.write_text(yaml.safe_dump(tree))
    return run.path


@pytest.mark.parametrize("key", OVER_GRPC)
def test_what_was_removed_is_refused_by_key_and_value(key: str, tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(TREE | {"client": {key: OVER_GRPC[key]}}))
    done = CliRunner().invoke(main, ["serve-and-bench", str(path), "--dry-run"])
    assert done.exit_code == 2 and f"client.{key}" in done.output and "was removed" in done.output and "leave" in done.output
    with pytest.raises(ScenarioError, match=f"client.{key}"):
        parse_scenario(TREE | {"client": {key: OVER_GRPC[key]}}, "x")


def test_what_is_left_can_be_written() -> None:
    left = {"transport": "wire", "compression": "none", "channel_options": {}}
    assert parse_scenario(TREE | {"client": left}, "x") == parse_scenario(TREE, "x")


@pytest.mark.usefixtures("sketched_figures")
def test_a_run_over_grpc_is_reported(run_over_grpc: Path) -> None:
    assert load_run_scenario(run_over_grpc / "scenario.yaml").client.transport == "grpc"
    done = CliRunner().invoke(main, ["report", str(run_over_grpc)])
    assert done.exit_code == 0, done.output
    report = (run_over_grpc / "report.md").read_text(encoding="utf-8")
    assert "Transport grpc (asyncio); 1 worker(s), 4 connection(s) opened" in report
    assert "transport grpc reads its sockets itself" in report


@pytest.mark.whole_run
def test_a_run_over_grpc_is_not_gone_on_with(run_over_grpc: Path) -> None:
    with pytest.raises(ScenarioError, match=r"client\.transport = 'grpc': wire is the only transport"):
        open_unfinished(run_over_grpc)
    with pytest.raises(ScenarioError, match=r"client\.transport = 'grpc'"):
        load_scenario(run_over_grpc / "scenario.yaml")
