"""Runs that are broken off in every way: records, report and equation hold, and nothing is left running."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.support.command import ROOT, Command
from tests.support.triton.started_run import LONG, LONG_PLANNED, MINI, StartRun, assert_conserved, outcomes, report, run_of, the_deployment
from trtbench.cli.main import main
from trtbench.engine.spec import Engine
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import read_json
from trtbench.rundir.records import Outcome
from trtbench.scenario.parts.choices import Dtype
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import ServerError
from trtbench.serving.server.server_kinds import SERVERS

SEED = 20261201
pytestmark = [pytest.mark.triton, pytest.mark.timeout(150, func_only=True)]


def begun(command: Command, done: int = 6) -> bool:
    """Whether the load runs, with some requests behind it."""
    lines = list((command.directory / "runs").glob("*/*/requests-0.jsonl"))
    return bool(lines) and lines[0].read_bytes().count(b"\n") >= done


def start_long(start_run: StartRun) -> Command:
    command = start_run(LONG)
    command.wait_for(lambda: begun(command))
    return command


def test_a_server_killed_in_the_middle(start_run: StartRun) -> None:
    command = start_long(start_run)
    (triton,) = command.children("tritonserver")
    triton.kill()
    assert command.wait() == 1
    run = run_of(command)
    lost = next(event for event in run.events() if event.kind == "server_lost")
    assert lost.data["exit_code"] == 128 + signal.SIGKILL
    assert "SIGKILL" in lost.data["cause"]
    assert "the server is lost" in command.err
    records = the_deployment(run).requests()
    assert_conserved(records, LONG_PLANNED)
    counts = outcomes(records)
    assert counts[Outcome.COMPLETED] >= 6
    assert 1 <= counts[Outcome.CONNECTION] <= 20  # what was in flight, and what was tried until the death was noticed
    assert counts[Outcome.NEVER_SENT] == 508 - counts[Outcome.COMPLETED] - counts[Outcome.CONNECTION]
    assert next(event for event in run.events() if event.kind == "deployment_finished").data["ended"] == "server_lost"
    summary = read_json(run.path / "summary.json")
    assert summary["verdict"]["status"] == "INVALID"
    assert "Traceback" not in command.err
    command.assert_nothing_left()


def test_one_ctrl_c_drains(start_run: StartRun) -> None:
    command = start_long(start_run)
    command.interrupt()
    assert command.wait() == 130
    run = run_of(command)
    records = the_deployment(run).requests()
    assert_conserved(records, LONG_PLANNED)
    counts = outcomes(records)
    assert set(counts) == {Outcome.COMPLETED, Outcome.NEVER_SENT}  # what was in flight came to its end
    assert [event.data["level"] for event in run.events() if event.kind == "interrupted"] == [1]
    assert not run.is_complete()
    assert (run.path / "report.md").is_file()
    assert read_json(run.path / "summary.json")["verdict"]["status"] != "VALID"
    assert "waiting for requests in flight" in command.err
    assert "Traceback" not in command.err
    command.assert_nothing_left()


def test_a_second_ctrl_c_stops_now(start_run: StartRun) -> None:
    command = start_long(start_run)
    command.interrupt()
    command.wait_for(lambda: "waiting for requests in flight" in command.err)
    command.interrupt()
    assert command.wait() == 130
    run = run_of(command)
    records = the_deployment(run).requests()
    assert_conserved(records, LONG_PLANNED)
    assert set(outcomes(records)) <= {Outcome.COMPLETED, Outcome.CANCELLED, Outcome.NEVER_SENT}
    assert [event.data["level"] for event in run.events() if event.kind == "interrupted"] == [1, 2]
    assert (run.path / "report.md").is_file()
    command.assert_nothing_left()


def test_sigterm_stops_now(start_run: StartRun) -> None:
    command = start_long(start_run)
    command.process.terminate()
    assert command.wait() == 143
    run = run_of(command)
    records = the_deployment(run).requests()
    assert_conserved(records, LONG_PLANNED)
    assert outcomes(records)[Outcome.CANCELLED] >= 1
    assert not run.is_complete()
    assert (run.path / "report.md").is_file()
    command.assert_nothing_left()


def test_sigterm_while_the_server_starts(start_run: StartRun) -> None:
    command = start_run(MINI)
    command.wait_for(lambda: bool(command.children("tritonserver")))
    command.process.terminate()
    assert command.wait() == 143
    assert "Traceback" not in command.err
    command.assert_nothing_left()


def test_a_signal_at_random_instants_of_a_run(start_run: StartRun) -> None:
    chance = random.Random(SEED)
    for number in range(3):
        signum, after_s = chance.choice((signal.SIGINT, signal.SIGTERM)), chance.uniform(0, 8)
        what = f"seed {SEED}, number {number}: {signum.name} {after_s:.2f} s after Triton was started"
        print(what)
        command = start_run(MINI, draws=True)  # which it may be doing when the signal comes
        command.wait_for(lambda one=command: bool(one.children("tritonserver")))
        time.sleep(after_s)
        command.interrupt(signum)
        assert command.wait() in (0, 128 + signum), what
        assert "Traceback" not in command.err and "Exception ignored" not in command.err, what
        command.assert_nothing_left()


def test_a_killed_trtbench_leaves_a_readable_run_and_no_server(start_run: StartRun) -> None:
    command = start_long(start_run)
    command.process.kill()
    command.wait()
    command.assert_nothing_left(but_files=True)
    run = run_of(command)
    assert not run.is_complete()
    records = the_deployment(run).requests()
    assert outcomes(records)[Outcome.COMPLETED] >= 6
    done = report(run)
    assert done.returncode == 0, done.stderr
    assert read_json(run.path / "summary.json")["verdict"]["status"] == "INVALID"


class FakeServerThatDies:
    """In place of TritonServer: never becomes ready."""

    def __init__(self, *arguments: object) -> None: ...

    def __enter__(self) -> None:
        raise ServerError("Triton ended before it was ready.\nExit code 1. Probable cause: none, it is a fake.")

    def __exit__(self, *error: object) -> None: ...


def test_servers_that_do_not_start_end_their_deployments_only(
    installation: TritonInstallation, engines: dict[Dtype, Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SERVERS, "triton", replace(SERVERS["triton"], start=FakeServerThatDies))
    monkeypatch.chdir(ROOT)
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(MINI | {"deployments": {"a": {}, "b": {}}}))
    result = CliRunner().invoke(main, ["serve-and-bench", str(tmp_path / "two.yaml"), "--runs", str(tmp_path / "runs")])
    assert result.exit_code == 1, result.output
    (path,) = (tmp_path / "runs").iterdir()
    run = RunDirectory.open(path)
    assert [(event.deployment, str(event.data["cause"]).splitlines()[0]) for event in run.events() if event.kind == "server_lost"] == [
        ("a-int8", "Triton ended before it was ready."),
        ("b-int8", "Triton ended before it was ready."),
    ]
    assert run.is_complete()
    assert read_json(path / "summary.json")["verdict"]["status"] == "INVALID"
    assert "it is a fake" in result.stderr
    assert (path / "report.html").is_file()
