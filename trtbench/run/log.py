"""RunLog writes each event of a run into its events.jsonl, and passes it to the listener that shows it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path

from trtbench.errors import UserError, in_one_line
from trtbench.run.environment import capture
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import EventData, RunResumed, RunStarted
from trtbench.rundir.events import event_of, first
from trtbench.rundir.lines import write_whole
from trtbench.rundir.records import Event
from trtbench.rundir.sessions import sessions
from trtbench.scenario.scenario import Scenario
from trtbench.system.clock import NS_PER_S, WallAnchor, now_ns

Listener = Callable[[Event], None]


@dataclass(frozen=True)
class RunOutcome:
    """The end of a run. `interrupted_by`: the signal that ended it early. `lost`: deployments whose server failed."""

    run: RunDirectory
    interrupted_by: int | None
    lost: tuple[str, ...]


class RunLog:
    def __init__(self, run: RunDirectory, listener: Listener) -> None:
        self.run = run
        self._listener = listener

    def write(self, data: EventData, deployment: str = "") -> None:
        event = event_of(now_ns(), data, deployment)
        self.run.append_event(event)
        self._listener(event)

    def show(self, data: EventData, deployment: str = "") -> None:
        """Pass progress that no report needs to the listener only."""
        self._listener(event_of(now_ns(), data, deployment))


def start_run(runs: Path, scenario: Scenario, command: list[str], listener: Listener) -> RunLog:
    """Make the run directory with its scenario and environment, and open its log; UserError if that fails."""
    anchor = WallAnchor.read()
    stem = f"{anchor.utc(anchor.monotonic_ns).astimezone(timezone.utc):%Y%m%dT%H%M%SZ}-{scenario.name}"
    run = _create(runs, stem)
    try:
        write_whole(run.path / "scenario.yaml", scenario.dump().encode())
        run.write_environment(capture(anchor))
        run.lock()
    except OSError as error:
        shutil.rmtree(run.path, ignore_errors=True)
        raise UserError(f"{in_one_line(error)}: free space, or choose another directory for the run") from error
    log = RunLog(run, listener)
    log.write(RunStarted(scenario=scenario.name, command=command, path=str(run.path)))
    return log


def resume_run(run: RunDirectory, command: list[str], listener: Listener) -> RunLog:
    """Continue an interrupted run. The event has this session's own anchor, because a reboot restarts the monotonic clock."""
    anchor, session, first_session = WallAnchor.read(), sessions(run.events())[-1], run.environment()
    resumed = first(session[:1], RunResumed) or RunResumed(gap_s=0)
    before = WallAnchor(
        resumed.anchor_monotonic_ns or first_session.anchor_monotonic_ns, resumed.anchor_wall_ns or first_session.anchor_wall_ns
    )
    ended_wall_ns = before.wall_ns + session[-1].time_ns - before.monotonic_ns
    log = RunLog(run, listener)
    gap_s = max(0.0, (anchor.wall_ns - ended_wall_ns) / NS_PER_S)
    anchors = {"anchor_monotonic_ns": anchor.monotonic_ns, "anchor_wall_ns": anchor.wall_ns}
    log.write(RunResumed(command=command, path=str(run.path), **anchors, gap_s=gap_s))
    return log


def _create(runs: Path, stem: str) -> RunDirectory:
    """Make the run directory under an unused name, because two runs of one scenario may start in one second."""
    for number in range(1, 100):
        try:
            return RunDirectory.create(runs / (stem if number == 1 else f"{stem}-{number}"))
        except FileExistsError:
            continue
    raise FileExistsError(f"{runs / stem} and its successors exist")
