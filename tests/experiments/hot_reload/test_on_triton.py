"""Reloads of the real server under load, end to end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.command import ran
from tests.support.records import columns
from tests.support.triton.started_run import MINI, StartRun, assert_conserved, report, run_of, the_deployment
from trtbench.experiments.hot_reload.reloads import Reloads, reloads
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.events import timed
from trtbench.rundir.experiment_events import ModelVersions

pytestmark = [pytest.mark.triton, pytest.mark.paced, pytest.mark.timeout(150, func_only=True)]

KINDS = [{"kind": "new_version"}, {"kind": "broken", "broken": "engine"}, {"kind": "blue_green"}]
RELOADED: dict[str, Any] = MINI | {
    "load": [{"mode": "constant", "rate": 2, "duration_s": 48}],
    "hot_reload": {"before_s": 2, "every_s": 13, "model_warmup": True, "reloads": KINDS},
}


def found_in(run: RunDirectory) -> Reloads:
    deployment = the_deployment(run)
    found = reloads([e for e in run.events() if e.deployment == deployment.name], columns(deployment.requests()), deployment.samples())
    assert found
    return found


def test_a_new_version_and_a_second_model_take_over_and_a_broken_engine_does_not(start_run: StartRun) -> None:
    command = start_run(RELOADED, draws=True)
    assert ran(command.wait(110), command.directory), command.err
    run, deployment = run_of(command), the_deployment(run_of(command))
    found = found_in(run)
    new, broken, green = found.reloads
    assert (new.loaded, broken.loaded, green.loaded) == (True, False, True)
    assert "Incorrect weights" in broken.error and "2" in (broken.served_on or ())
    assert not broken.failed and not new.failed and set(green.failed) <= {"never_sent"}
    assert {"1", "2"} <= set(found.versions) <= {"1", "2", "4"}  # on a slow machine the load may be over when 4 is ready
    assert green.version == "4" and green.drain_s is not None and green.unload_s is not None
    _gone_while_the_load_goes_on(run, "1")
    assert [path.name for path in (deployment.path / "model_repository").iterdir()] == ["smollm2-135m-green"]
    text = (run.path / "report.md").read_text()
    assert "did not load; version 2 still serves" in text and f"plots/reloads-{deployment.name}.png" in text


def _gone_while_the_load_goes_on(run: RunDirectory, version: str) -> None:
    """The server lets go of a replaced version only when no stream that used it is open, and the load keeps its streams."""
    states = [(time_ns, told.versions.get(version)) for time_ns, told in timed(run.events(), ModelVersions)]
    gone_ns = next(at for at, state in states if state not in ("READY", "UNLOADING"))
    assert any(r.sent_ns and r.sent_ns > gone_ns for r in the_deployment(run).requests())


def test_an_interrupt_in_the_middle_of_a_reload(start_run: StartRun) -> None:
    command = start_run(RELOADED)
    command.wait_for(lambda: any("reload_started" in path.read_text() for path in command.directory.glob("runs/*/events.jsonl")))
    command.interrupt()
    assert command.wait() == 130
    run = run_of(command)
    (one,) = found_in(run).reloads  # brought to its end
    assert one.loaded and one.end_ns is not None
    assert_conserved(the_deployment(run).requests(), {("constant-2", False): 96})
    assert report(run).returncode == 0 and "Hot reload" in (run.path / "report.md").read_text()
    command.assert_nothing_left()
