"""`trtbench serve-and-bench` for Python: a scenario from its checkpoint to a run directory."""

from __future__ import annotations

import asyncio
import copy
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from trtbench.api.loaded_run import Run
from trtbench.cli.console import Console
from trtbench.cli.flags.explained import named_by_keys
from trtbench.engine.build import DEFAULT_OUTPUT
from trtbench.errors import UserError, in_one_line
from trtbench.load.tally import LoadProgress
from trtbench.load.worker_handle import WorkerError
from trtbench.run import execute
from trtbench.run.log import RunOutcome
from trtbench.rundir.event_kinds import RunStarted
from trtbench.rundir.events import event_of, first
from trtbench.rundir.records import Event
from trtbench.scenario.reading import find_scenario, load_scenario, parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.serving.server.server import ServerError
from trtbench.system.clock import now_ns
from trtbench.system.interrupts import signals_raise
from trtbench.system.leftovers import sweep
from trtbench.telemetry.sampler import SamplerError


class RunFailed(RuntimeError):
    """The run began, and a server, a load worker or the disk failed. `run` holds what was recorded until then."""

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(f"{message}; `trtbench serve-and-bench --resume {run.path}` continues the run")
        self.run = run


class RunInterrupted(KeyboardInterrupt):
    """The run was interrupted by SIGINT, SIGTERM or a notebook's stop button. `run` holds what was recorded until then."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"interrupted; `trtbench serve-and-bench --resume {run.path}` continues the run")
        self.run = run


def serve_and_bench(
    scenario: str | PathLike[str] | Mapping[str, Any] | Scenario,
    *,
    overrides: Sequence[str] = (),
    runs: str | PathLike[str] = "runs",
    engines: str | PathLike[str] = DEFAULT_OUTPUT,
    show_progress: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> Run:
    """Build the engines of a scenario, serve them (or take its running endpoint), send the load and measure; returns the finished run.

    scenario: a YAML file, the name of a scenario that ships, a mapping with the same keys, or a Scenario.
    overrides: `key.path=value` as those of `--set`, for example "load.0.requests=20".
    runs: the directory in which the run directory is made. engines: the cache of built engines.
    show_progress: print on standard error what the command prints. on_event: called with each event of the run as it happens.

    The run's figures may be unusable: `run.summary.verdict.status` is VALID, SUSPECT or INVALID. No report is written: `run.report()`.
    Call it from the main thread, where signals arrive; in a notebook, whose event loop waits meanwhile, too. The first interrupt lets
    requests in flight end, the second one cancels them.

    UserError (ScenarioError for the scenario itself) when it cannot be run, before a server is started; RunFailed when a server, a load
    worker or the disk failed during the run; RunInterrupted after an interrupt, KeyboardInterrupt when there is no run directory yet.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UserError("serve_and_bench was called in a thread: call it from the main thread, where interrupts arrive")
    asked = _scenario(scenario, overrides)
    sweep()
    progress = LoadProgress()
    with Console(progress) if show_progress else nullcontext() as console, _outside_running_loop(), signals_raise():
        outcome = _measured(asked, Path(runs), Path(engines), _Listener(console, on_event), progress)
    run = Run(outcome.run.path)
    if outcome.interrupted_by is not None:
        raise RunInterrupted(run)
    if outcome.lost:
        raise RunFailed(f"the server of {', '.join(outcome.lost)} was lost: {run.path / outcome.lost[0] / 'server.log'}", run)
    return run


class _Listener:
    """Passes on the events of a run, and keeps the path of its directory."""

    def __init__(self, *listeners: Callable[[Event], None] | None) -> None:
        self._listeners = [listener for listener in listeners if listener]
        self.run: Path | None = None

    def __call__(self, event: Event) -> None:
        if started := first([event], RunStarted):
            self.run = Path(started.path)
        for listener in self._listeners:
            listener(event)


def _measured(asked: Scenario, runs: Path, engines: Path, listener: _Listener, progress: LoadProgress) -> RunOutcome:
    for journal in execute.restore_left_gpus(lambda data: listener(event_of(now_ns(), data))):
        warnings.warn(f"GPU {journal.index} is held by {journal.owner}: the two runs disturb each other", stacklevel=3)
    try:
        with named_by_keys():
            return execute.serve_and_bench(asked, runs, ["trtbench.serve_and_bench", asked.name], listener, progress, engines)
    except (ServerError, SamplerError, WorkerError, OSError) as error:
        if listener.run is None:
            raise
        raise RunFailed(in_one_line(error), Run(listener.run)) from error


def _scenario(asked: str | PathLike[str] | Mapping[str, Any] | Scenario, overrides: Sequence[str]) -> Scenario:
    if isinstance(asked, (str, PathLike)):
        return load_scenario(find_scenario(Path(asked)), overrides)
    tree = yaml.safe_load(asked.dump()) if isinstance(asked, Scenario) else copy.deepcopy(dict(asked))
    return parse_scenario(tree, "scenario", overrides)


@contextmanager
def _outside_running_loop() -> Iterator[None]:
    """A notebook runs its cells inside its own event loop. It waits for every cell, so for the time of this one there is none."""
    outer = asyncio._get_running_loop()
    if outer is None:
        yield
        return
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)
        asyncio.set_event_loop(outer)
