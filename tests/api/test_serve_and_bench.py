"""Runs of the Python interface: what it refuses, what it returns, and the errors that carry an unfinished run."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import trtbench
from tests.support.triton.started_run import LONG, MINI, assert_conserved
from trtbench.engine.build import PROVIDERS
from trtbench.load.worker_handle import WorkerError
from trtbench.run import execute
from trtbench.run.log import RunOutcome
from trtbench.rundir.directory import RunDirectory

ROOT = Path(__file__).parents[2]
ENGINES = ROOT / "engines" / "built"
RECORDED = ROOT / "tests" / "recorded"
needs_openvino = pytest.mark.skipif(PROVIDERS["openvino"].unavailable() is not None, reason=str(PROVIDERS["openvino"].unavailable()))


@pytest.mark.parametrize(
    ("scenario", "overrides", "says"),
    [
        ("no-such-scenario", (), "no-such-scenario: cannot be read"),
        (Path("none.yaml"), (), "none.yaml: cannot be read"),
        (MINI | {"lod": []}, (), "scenario: lod"),
        (MINI, ("load.0.requests=many",), "load.0.requests = 'many'"),
        (MINI, ("load.7.requests=5",), "load.7.requests=5: 7 is not a position in a list of 2"),
        (trtbench.Scenario.model_validate(MINI), ("engines=[fp3]",), "engines.0 = 'fp3'"),
    ],
)
def test_a_scenario_that_does_not_hold_is_refused(scenario: Any, overrides: tuple[str, ...], says: str, tmp_path: Path) -> None:
    with pytest.raises(trtbench.UserError) as refused:
        trtbench.serve_and_bench(scenario, overrides=overrides, runs=tmp_path / "runs")
    assert says in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_overrides_leave_the_callers_mapping_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def noted(scenario: trtbench.Scenario, *rest: Any) -> RunOutcome:
        asked.append(scenario)
        return RunOutcome(RunDirectory(RECORDED / "baseline"), None, ())

    monkeypatch.setattr(execute, "serve_and_bench", noted)
    trtbench.serve_and_bench(MINI, overrides=["load.0.requests=9"], runs=tmp_path)
    trtbench.serve_and_bench(trtbench.Scenario.model_validate(MINI), overrides=["load.0.requests=9"], runs=tmp_path)
    trtbench.serve_and_bench("quickstart", overrides=["load.0.requests=9"], runs=tmp_path)
    assert [scenario.load[0].requests for scenario in asked] == [9, 9, 9]
    assert asked[0] == asked[1]
    assert MINI["load"][0]["requests"] == 6


def test_a_thread_is_refused() -> None:
    refused: list[trtbench.UserError] = []

    def call() -> None:
        try:
            trtbench.serve_and_bench(MINI)
        except trtbench.UserError as error:
            refused.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "call it from the main thread" in str(refused[0])


def ends_with(monkeypatch: pytest.MonkeyPatch, outcome: RunOutcome | Exception, path: Path) -> None:
    def ended(scenario: Any, runs: Any, command: Any, listener: Any, *rest: Any) -> RunOutcome:
        listener(trtbench.Event(1, "run_started", data={"path": str(path)}))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(execute, "serve_and_bench", ended)


@pytest.mark.whole_run
def test_a_failed_run_is_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    path = RECORDED / "killed"
    for failed, says in (
        (RunOutcome(RunDirectory(path), None, ("default-fp16",)), "the server of default-fp16 was lost"),
        (WorkerError("load worker 0 ended by itself"), "load worker 0 ended by itself"),
        (OSError(28, "No space left on device", "requests-0.jsonl"), "requests-0.jsonl: No space left on device"),
    ):
        ends_with(monkeypatch, failed, path)
        with pytest.raises(trtbench.RunFailed, match=says) as error:
            trtbench.serve_and_bench(MINI)
        assert f"trtbench serve-and-bench --resume {path}" in str(error.value)
        assert len(error.value.run.requests)


def test_an_interrupted_run_is_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    path = RECORDED / "killed"
    ends_with(monkeypatch, RunOutcome(RunDirectory(path), signal.SIGINT, ()), path)
    with pytest.raises(trtbench.RunInterrupted) as interrupted:
        trtbench.serve_and_bench(MINI)
    assert isinstance(interrupted.value, KeyboardInterrupt)
    assert interrupted.value.run.path == path


@pytest.mark.triton
@needs_openvino
@pytest.mark.timeout(200)
def test_a_mapping_is_run_inside_a_notebooks_event_loop(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kinds: list[str] = []

    async def cell() -> trtbench.Run:
        here = asyncio.get_running_loop()
        run = trtbench.serve_and_bench(MINI, runs=tmp_path, engines=ENGINES, on_event=lambda event: kinds.append(event.kind))
        await asyncio.sleep(0)
        assert asyncio.get_running_loop() is here
        return run

    run = asyncio.run(cell())
    assert run.path.parent == tmp_path
    assert run.summary.complete
    assert {"run_started", "server_ready", "stage_finished", "run_finished"} <= set(kinds)
    assert (run.requests.query("not warmup").groupby("stage", observed=True).size() == [6, 8]).all()
    assert run.summary.command == "trtbench.serve_and_bench mini"
    assert capfd.readouterr() == ("", "")


@pytest.mark.triton
@needs_openvino
@pytest.mark.timeout(200)
def test_an_interrupt_ends_the_run_and_restores_the_handlers(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupt(event: trtbench.Event) -> None:
        if event.kind == "stage_started":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(trtbench.RunInterrupted) as interrupted:
        trtbench.serve_and_bench(LONG, runs=tmp_path, engines=ENGINES, on_event=interrupt)
    run = interrupted.value.run
    assert not run.summary.complete
    assert (run.requests.outcome == "never_sent").any()
    (directory,) = RunDirectory.open(run.path).deployments()
    assert_conserved(directory.requests(), {("c4", False): 500, ("constant-1", False): 5, ("constant-1", True): 3})
    assert signal.getsignal(signal.SIGINT) is before
