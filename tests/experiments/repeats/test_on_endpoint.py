"""Rounds at a running endpoint: run, stopped by a figure, resumed at the border of a round, and run again from the directory's scenario."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import trtbench
from tests.support.fakes.fake_openai import Manners, serving_openai
from trtbench.cli.main import main
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import AttemptSetAside, PlanDrawn
from trtbench.rundir.events import every
from trtbench.rundir.experiment_events import RoundsDecided

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

UNTIL = {"metric": "completed", "relative_width": 0.05}


def scenario(url: str, repeats: Any) -> dict[str, Any]:
    load = [{"name": name, "concurrency": 1, "requests": 3} for name in ("a", "b")]
    lengths = {"input_tokens": 8, "output_tokens": 3}
    endpoint = {"type": "openai-completions", "urls": [url]}
    return {"name": "rounds", "model": "m", "endpoint": endpoint, "workload": lengths, "load": load, "repeats": repeats}


def prompts(run: trtbench.Run) -> list[set[str]]:
    """The prompts of each round."""
    plans = [directory.plan_jsonl.read_text(encoding="utf-8") for directory in RunDirectory.open(run.path).deployments()]
    return [set(re.findall(r'"(?:text|input_ids)":.*', plan)) for plan in plans]


def test_each_round_has_its_own_requests_and_a_second_run_sends_the_same(tmp_path: Path) -> None:
    with serving_openai(Manners()) as server:
        first = trtbench.serve_and_bench(scenario(server.url, 2), runs=tmp_path / "first")
        again = trtbench.serve_and_bench(first.path / "scenario.yaml", runs=tmp_path / "again")
    assert [result.name for result in first.summary.deployments] == ["m-r1", "m-r2"]
    plans = [[plan.sha256 for plan in every(run.events, PlanDrawn)] for run in (first, again)]
    assert len(set(plans[0])) == 2
    assert plans[0] == plans[1]
    one, other = prompts(first)
    assert one and other and not one & other
    paired = first.figures.merge(again.figures, on=["cell", "stage", "round", "figure"])
    assert len(paired[paired.figure == "e2e_latency.mean"]) == 4


def test_rounds_end_when_the_figure_is_known(tmp_path: Path) -> None:
    with serving_openai(Manners()) as server:
        run = trtbench.serve_and_bench(scenario(server.url, {"most": 4, "least": 2, "until": UNTIL}), runs=tmp_path)
    assert [result.name for result in run.summary.deployments] == ["m-r1", "m-r2"]
    (decided,) = every(run.events, RoundsDecided)
    assert (decided.round, decided.stopped, {one.relative_width for one in decided.widths}) == (2, True, {0.0})
    assert run.summary.complete
    assert "ended once the interval of completed" in (run.report()[1]).read_text(encoding="utf-8")


def test_a_run_is_resumed_at_the_border_of_a_round(tmp_path: Path) -> None:
    with serving_openai(Manners()) as server:
        run = trtbench.serve_and_bench(scenario(server.url, 2), runs=tmp_path / "runs")
        path = Path(shutil.copytree(run.path, tmp_path / "killed"))  # this process holds the lock of the first
        lines = (path / "events.jsonl").read_bytes().splitlines(True)
        second = next(number for number, line in enumerate(lines) if b'"deployment_started"' in line and b'"m-r2"' in line)
        (path / "events.jsonl").write_bytes(b"".join(lines[: second + 2]))
        kept = (path / "m-r1" / "requests.parquet").read_bytes()
        done = CliRunner().invoke(main, ["serve-and-bench", "--resume", str(path)], catch_exceptions=False)
    assert done.exit_code in (0, 4), done.output
    resumed = trtbench.load_run(path)
    assert (path / "m-r1" / "requests.parquet").read_bytes() == kept
    assert [event.to for event in every(resumed.events, AttemptSetAside)] == ["set-aside/m-r2-1"]
    assert sorted(set(resumed.figures["round"])) == [1, 2]
    assert resumed.summary.complete


def test_bench_takes_a_number_of_rounds(tmp_path: Path) -> None:
    with serving_openai(Manners()) as server:
        flags = [
            "--endpoint-type",
            "completions",
            "-u",
            server.url,
            "-m",
            "m",
            "--concurrency",
            "1,2",
            "--request-count",
            "4",
            "--osl",
            "3",
        ]
        command = ["bench", *flags, "--repeats", "2", "--artifact-dir", str(tmp_path)]
        dry = CliRunner().invoke(main, [*command, "--dry-run"], catch_exceptions=False)
        done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert "repeats: 2 rounds, 2 deployments in all" in dry.output
    assert done.exit_code in (0, 4), done.output
    (path,) = tmp_path.iterdir()
    assert [result.name for result in trtbench.load_run(path).summary.deployments] == ["m-r1", "m-r2"]
