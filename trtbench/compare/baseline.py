"""The baseline of a scenario on a machine: the run with which `trtbench compare` compares if no base is given.

`baselines.json` is in the directory of the runs, and names runs of that directory, so that it stays valid where the directory is moved.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from trtbench.analysis.loader import RecordedRun
from trtbench.errors import UserError
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import read_json, write_json

BASELINES = "baselines.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
"""The name of a directory in the directory of the runs, and of nothing above it."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """`machine`: the digest of the host's name in environment.json. `run`: a name in the directory of the runs."""

    scenario: str
    machine: str
    run: str


def baselines_of(runs: Path) -> list[Baseline]:
    """All baselines in a directory of runs; none if there is no file. UserError if the file cannot be used."""
    path = runs / BASELINES
    if not path.exists():
        return []
    try:
        found = TypeAdapter(list[Baseline]).validate_python(read_json(path))
    except (OSError, ValueError, RecursionError) as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UserError(f"{path} cannot be used ({why}): remove it, and set the baselines again by `trtbench baseline set RUN`") from error
    if wrong := [one.run for one in found if not _NAME.fullmatch(one.run)]:
        raise UserError(f"{path}: {wrong[0]!r} is not the name of a run in {runs}: remove it, and set the baseline again")
    return found


def set_baseline(run: Path) -> Baseline:
    """Make a run the baseline of its scenario on its machine, in place of any earlier one. The file appears complete or not at all."""
    path = run.resolve()
    one = _identity(path)
    if not _NAME.fullmatch(one.run):
        raise UserError(f"{run}: a baseline needs a directory name of letters, digits, dots, dashes and underscores; rename it")
    others = [old for old in baselines_of(path.parent) if (old.scenario, old.machine) != (one.scenario, one.machine)]
    write_json(path.parent / BASELINES, [asdict(each) for each in [*others, one]])
    return one


def baseline_for(run: Path) -> Path:
    """The baseline of the scenario and machine of `run`; UserError if none is set, if it is gone, or if it is the run itself."""
    path = run.resolve()
    own = _identity(path)
    found = next((one for one in baselines_of(path.parent) if (one.scenario, one.machine) == (own.scenario, own.machine)), None)
    if found is None:
        raise UserError(f"{run}: {own.scenario} has no baseline on its machine: set one by `trtbench baseline set RUN`, or give BASE")
    if found.run == own.run:
        raise UserError(f"{run} is itself the baseline of {own.scenario}: give BASE and CANDIDATE, or another run")
    if not (path.parent / found.run).is_dir():
        raise UserError(
            f"{path.parent / found.run}, the baseline of {own.scenario}, does not exist: set another by `trtbench baseline set`"
        )
    return path.parent / found.run


def _identity(path: Path) -> Baseline:
    recorded = RecordedRun(RunDirectory.open(path))
    return Baseline(recorded.scenario.name, recorded.environment.hostname_sha256, path.name)
