"""How long a user pauses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from trtbench.scenario.parts.bounds import SecondsOrNone
from trtbench.scenario.parts.part import Part


class Think(Part):
    mean: SecondsOrNone = Field(description="Mean pause, seconds.")
    distribution: Literal["fixed", "exponential"] = Field("fixed", description="fixed: every pause is the mean; exponential: drawn.")


def _as_think(seconds: object) -> object:
    return {"mean": seconds} if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) else seconds


ThinkTime = Annotated[Think, BeforeValidator(_as_think, json_schema_input_type=Think | SecondsOrNone)]
"""Seconds, always the same, or {mean, distribution}; always a Think once read."""
