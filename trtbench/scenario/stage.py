"""When requests are sent: one level of load."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trtbench.scenario.part import Name, Part


class Stage(Part):
    """One level of load, held until its count or its duration is reached; stages run one after another, with drain between."""

    name: Name | None = Field(None, description="Default: from mode and level, as in c16 or poisson-2.5.")
    mode: Literal["concurrency", "constant", "poisson", "gamma"] = Field(
        "concurrency", description="Closed loop of so many users, or an open loop of constant, Poisson or gamma arrivals."
    )
    concurrency: int | None = Field(None, ge=1, description="Users of the closed loop, each with one request in flight.")
    rate: float | None = Field(None, gt=0, description="Requests per second of the open loop.")
    burstiness: float | None = Field(
        None, gt=0, description="Shape of gamma arrivals, CV 1/sqrt(burstiness): 1 is Poisson, below it burstier, above it more even."
    )
    requests: int | None = Field(None, ge=1, description="End after so many requests.")
    duration_s: float | None = Field(None, gt=0, description="End after so many seconds; what is in flight is drained.")
    warmup_requests: int = Field(0, ge=0, description="Requests sent in the stage's own manner before it, kept out of the figures.")

    @model_validator(mode="after")
    def _consistent(self) -> Stage:
        given, other = ("concurrency", "rate") if self.mode == "concurrency" else ("rate", "concurrency")
        if getattr(self, given) is None:
            raise ValueError(f"mode {self.mode} needs {given}")
        if getattr(self, other) is not None:
            raise ValueError(f"mode {self.mode} takes {given}, not {other}")
        if (self.mode == "gamma") != (self.burstiness is not None):
            raise ValueError("burstiness goes with mode gamma, and mode gamma needs it")
        if self.requests is None and self.duration_s is None:
            raise ValueError("a stage needs requests, duration_s, or both (it ends at the first)")
        return self

    @property
    def level(self) -> float:
        """Users or requests per second."""
        return float(self.concurrency if self.mode == "concurrency" else self.rate)  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        return self.name or (f"c{self.concurrency}" if self.mode == "concurrency" else f"{self.mode}-{self.rate:g}")
