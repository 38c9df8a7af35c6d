"""What every part of a scenario is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, StringConstraints

from trtbench.errors import UserError

MOST_NAME_CHARACTERS = 64
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Names become directory and model names, so only letters, digits, '.', '_' and '-'."""


_OF_RUN = ("scenario.yaml", "environment.json", "events.jsonl", "summary.json", "report.md", "report.html", "plots", "set-aside")
_OF_DEPLOYMENT = ("deployment.json", "engine.json", "config.pbtxt", "server.log", "plan.jsonl", "model_repository")
_OF_RECORDS = ("requests.parquet", "requests.jsonl", "samples.parquet", "samples.jsonl")
RUN_FILES = frozenset((*_OF_RUN, *_OF_DEPLOYMENT, *_OF_RECORDS))
"""What a run directory, and a deployment's in it, names its own: no name of a deployment."""


class Problem(NamedTuple):
    """One fault of a scenario. `key`: the path to it, keys of mappings and positions in lists; `value`: what was written there."""

    key: tuple[str | int, ...]
    value: object
    message: str


class ScenarioError(UserError):
    """A scenario that cannot be run; the message names the key, the value and the remedy.

    `problems`: the same one by one, for a caller whose user wrote flags instead of keys; empty where it is not about single keys.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
