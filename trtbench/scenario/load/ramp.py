"""A level of load that changes while the stage lasts."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_serializer, model_validator

from trtbench.scenario.parts.bounds import RampSteps, RequestRate, RequestRateOrNone, Seconds, UserCount, UserCountOrNone
from trtbench.scenario.parts.part import Part


class Ramp(Part):
    """From one level to another, then on at the other. `steps` levels, both ends among them, each as long; without, in a line."""

    first: RequestRateOrNone = Field(alias="from", description="Level at the start.")
    to: RequestRateOrNone = Field(description="Level at the end.")
    steps: RampSteps | None = Field(None, description="Levels held in turn, the first and the last included; null: a straight line.")
    over_s: Seconds | None = Field(None, description="Seconds from the first level to the last, held from there; null: the whole stage.")

    @model_validator(mode="after")
    def _two_levels(self) -> Ramp:
        if self.first == self.to:
            raise ValueError(f"from and to are both {self.to:g}: give two levels, or the number alone")
        return self

    @model_serializer
    def _as_read(self) -> dict[str, Any]:
        return {"from": self.first, "to": self.to, "steps": self.steps, "over_s": self.over_s}

    @property
    def label(self) -> str:
        return f"{self.first:g}-{self.to:g}"


class UserRamp(Ramp):
    """Users enter one by one; on the way down the last to come leave first, each after its request in flight."""

    first: UserCountOrNone = Field(alias="from", description="Users at the start.")
    to: UserCount = Field(description="Users at the end.")


def _kind(level: object) -> str:
    return "<ramp>" if isinstance(level, (dict, Ramp)) else "<number>"


Rate = Annotated[
    Annotated[RequestRate, Tag("<number>")] | Annotated[Ramp, Tag("<ramp>")],
    Discriminator(_kind),
]
"""Requests per second, or a ramp of them."""

Users = Annotated[
    Annotated[UserCount, Tag("<number>")] | Annotated[UserRamp, Tag("<ramp>")],
    Discriminator(_kind),
]
