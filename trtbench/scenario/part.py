"""What every part of a scenario is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from trtbench.errors import UserError

MOST_NAME_CHARACTERS = 64
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Names become directory and model names, so only letters, digits, '.', '_' and '-'."""


class ScenarioError(UserError):
    """A scenario that cannot be run; the message names the key, the value and the remedy."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
