"""Resuming an interrupted run. Finished deployments stay, unfinished ones are set aside, and nothing may have changed since."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from trtbench.engine.spec import ENGINE_JSON, Engine
from trtbench.run.environment import capture
from trtbench.run.log import RunLog
from trtbench.rundir.directory import DeploymentDirectory, RunDirectory
from trtbench.rundir.event_kinds import AttemptSetAside, DeploymentStarted, PlanDrawn
from trtbench.rundir.events import every, is_kind
from trtbench.rundir.lines import RunDirectoryError
from trtbench.rundir.records import Environment
from trtbench.rundir.sessions import current, finished, is_complete, sessions
from trtbench.scenario.reading import load_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.system.clock import WallAnchor
from trtbench.system.foreign_text import shown

_ASIDE = "set-aside"
_SAME = ("trtbench_version", "cpu_model", "cpu_count", "gpus", "nvml", "packages")
"""Keys of the environment. If one of these differs, figures before and after the resume are not comparable, yet one table would list
both.
"""


@dataclass(frozen=True)
class Unfinished:
    """An unfinished run. `done`: the deployments that are not run again."""

    run: RunDirectory
    scenario: Scenario
    done: frozenset[str]

    def check_engines(self, engines: Mapping[str, Engine]) -> None:
        """RunDirectoryError if the engines, by deployment directory, differ from those that the run began with."""
        for directory in self.run.deployments():
            if directory.name not in engines:
                raise RunDirectoryError(
                    f"{self.run.path}: events.jsonl names the deployment {shown(directory.name)}, which scenario.yaml does not have: "
                    "bring the run's own files back, or start a new run"
                )
            if not (directory.path / ENGINE_JSON).is_file():
                continue
            before = directory.engine()
            then, dtype, now = str(before.sha256), before.dtype, engines[directory.name].sha256
            if now != then:
                raise RunDirectoryError(
                    f"{self.run.path}: the {dtype} engine has hash {now[:12]}, {directory.name} ran on {then[:12]} by its {ENGINE_JSON}: "
                    "bring the old engine back to engines/built, or start a new run"
                )

    def check_plans(self, plans: Collection[str]) -> None:
        """RunDirectoryError if the plans (their hashes) differ from those that the run began with."""
        drawn = {plan.sha256 for plan in every(sessions(self.run.events())[0], PlanDrawn)}
        if drawn and drawn != set(plans):
            now, then = (", ".join(sorted(sha256[:12] for sha256 in hashes)) for hashes in (plans, drawn))
            raise RunDirectoryError(
                f"{self.run.path}: the plan drawn now has hash {now}, the run's has {then}: "
                "a dataset, a trace or the tokenizer has changed; bring the old one back, or start a new run"
            )

    def set_aside(self, log: RunLog, names: Collection[str]) -> None:
        """Move those of the directories `names` of deployments that are unfinished out of the way, and record it."""
        begun = {event.deployment for event in current(self.run.events()) if is_kind(event, DeploymentStarted)}
        for name in names:
            path = self.run.path / name
            if name in self.done or not (path.exists() or name in begun):
                continue
            to = _free(self.run.path / _ASIDE, name)
            if path.exists():
                to.parent.mkdir(exist_ok=True)
                path.rename(to)
            log.write(AttemptSetAside(to=f"{_ASIDE}/{to.name}"), name)


def open_unfinished(path: Path) -> Unfinished:
    """The run at `path`, locked against another resume; RunDirectoryError, with the remedy, if there is nothing to continue."""
    run = RunDirectory.open(path)
    if not (path / "scenario.yaml").is_file() or not run.events():
        raise RunDirectoryError(f"{path} was killed before its first event: start a new run")
    run.lock()
    _drop_torn_line(path / "events.jsonl")
    events, scenario = run.events(), load_scenario(path / "scenario.yaml")
    begun = run.deployments()
    if scenario.endpoint is None and any(_is_external(directory) for directory in begun):
        raise RunDirectoryError(f"{path} is a run of `trtbench bench` of an older version: start that command again")
    done = finished(events)
    if is_complete(events) and all(directory.name in done for directory in begun):
        raise RunDirectoryError(f"{path} is finished, nothing is left to run: `trtbench report {path}` makes its report again")
    _check_environment(path, run.environment())
    return Unfinished(run, scenario, done)


def _drop_torn_line(path: Path) -> None:
    """Remove an incomplete line that a kill left, because it would damage the next line that is appended."""
    whole, newline, torn = path.read_bytes().rpartition(b"\n")
    if torn:
        os.truncate(path, len(whole) + len(newline))


def _is_external(directory: DeploymentDirectory) -> bool:
    return directory.deployment().mode == "external"


def _check_environment(path: Path, before: Environment) -> None:
    now = capture(WallAnchor.read())
    changed = [name for name in _SAME if getattr(now, name) != getattr(before, name)]
    if changed:
        differences = "; ".join(f"{name} was {_difference(before, now, name)}" for name in changed)
        raise RunDirectoryError(f"{path} was measured elsewhere ({differences}): its figures and new ones do not compare; start a new run")


def _difference(before: Environment, now: Environment, name: str) -> str:
    """`a, is b`; for packages, only those that changed."""
    then, since = getattr(before, name), getattr(now, name)
    if isinstance(then, dict):
        keys = sorted(key for key in then.keys() | since.keys() if then.get(key) != since.get(key))
        then, since = ({key: side.get(key) for key in keys} for side in (then, since))
    return f"{then}, is {since}"


def _free(parent: Path, name: str) -> Path:
    numbers = (parent / f"{name}-{number}" for number in count(1))
    return next(path for path in numbers if not path.exists())
