"""A stage of load: when requests are sent, at a constant level or along a ramp of levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, model_serializer, model_validator

from trtbench.rundir.event_kinds import LoadMode
from trtbench.scenario.parts.bounds import (
    MOST_DAYS,
    MOST_SECONDS,
    Burstiness,
    RampSteps,
    Ratio,
    RatioBelowOne,
    RequestRate,
    RequestRateOrNone,
    Requests,
    RequestsOrNone,
    Seconds,
    Speed,
    TraceBlockTokens,
    UserCount,
    UserCountOrNone,
    is_of_a_run,
)
from trtbench.scenario.parts.choices import TraceFormat
from trtbench.scenario.parts.part import Name, Part
from trtbench.scenario.workload.request_kind import ThinkTime


class Ramp(Part):
    """A change from one level to another, then on at the other. `steps` levels, both ends among them, each as long; without, in a line."""

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


_NEEDS: dict[LoadMode, tuple[str, ...]] = {
    "concurrency": ("concurrency",),
    "constant": ("rate",),
    "poisson": ("rate",),
    "gamma": ("rate", "burstiness"),
    "burst": ("rate", "on_s", "off_s"),
    "trace": ("trace",),
}
_MAY_HAVE: dict[LoadMode, tuple[str, ...]] = {
    "concurrency": ("think_s",),
    "constant": ("max_in_flight",),
    "poisson": ("max_in_flight",),
    "gamma": ("max_in_flight",),
    "burst": ("gaps", "max_in_flight"),
    "trace": ("speed", "trace_format", "trace_block_tokens", "max_in_flight"),
}


class Stage(Part):
    """Load held until its count or its duration is reached; stages run one after another, with drain between."""

    name: Name | None = Field(None, description="Default: from mode and level, as in c16, poisson-2.5, c10-1000 or trace-x2.")
    mode: LoadMode = Field(
        "concurrency",
        description="A closed loop of users (concurrency), or an open loop with constant, Poisson or gamma arrivals, bursts, or a trace.",
    )
    concurrency: Users | None = Field(
        None, description="Users of the closed loop, each with one request in flight: a number, or a ramp {from, to, steps, over_s}."
    )
    think_s: ThinkTime | None = Field(
        None, description="A user's pause between its requests: seconds, or {mean, distribution: fixed or exponential}."
    )
    rate: Rate | None = Field(
        None, description="Requests per second of the open loop: a number, or a ramp {from, to, steps, over_s}; of bursts, while on."
    )
    max_in_flight: UserCount | None = Field(
        None,
        description="Largest number of requests in flight of an open loop. A request that is due while all places are taken waits for "
        "one; its latencies include the wait.",
    )
    burstiness: Burstiness | None = Field(
        None, description="Shape of gamma arrivals, CV 1/sqrt(burstiness): 1 is Poisson, below it burstier, above it more even."
    )
    on_s: Seconds | None = Field(None, description="Seconds of each burst; the stage begins with one.")
    off_s: Seconds | None = Field(None, description="Seconds without arrivals between bursts.")
    gaps: Literal["poisson", "constant"] = Field("poisson", description="Arrivals inside bursts; drawn as if there were no pauses.")
    trace: Path | None = Field(
        None,
        description="File of Mooncake, Bailian, Azure or BurstGPT, or like one, with timestamps and lengths: when requests are due and how "
        "long they are.",
    )
    trace_format: TraceFormat | None = Field(None, description="Format of the trace; null: its rows or columns show it.")
    trace_block_tokens: TraceBlockTokens | None = Field(
        None, description="Prompt tokens of each hash_id of the trace; null: the size that fits its lengths, 512 if several fit."
    )
    speed: Speed = Field(1.0, description="Speed of the trace: 2 replays it in half its time.")
    requests: Requests | None = Field(None, description="End the stage after this number of requests.")
    duration_s: Seconds | None = Field(None, description="End the stage after this number of seconds; requests in flight are drained.")
    warmup_requests: RequestsOrNone = Field(0, description="Requests sent in the same mode before the stage; the figures exclude them.")
    cancel_ratio: Ratio | None = Field(
        None, description="Share of requests of this stage that the client cancels, in place of workload.cancel.ratio; 0: none."
    )
    duplicate_ratio: RatioBelowOne | None = Field(
        None, description="Share of requests that repeat an earlier one of this stage, in place of workload.duplicate_ratio."
    )
    same_as: Name | None = Field(
        None,
        description="Name of an earlier stage: send its requests again. Only name, cancel_ratio and warmup_requests may differ.",
    )

    @model_validator(mode="after")
    def _keys_of_the_mode(self) -> Stage:
        given = {key for key, field in type(self).model_fields.items() if getattr(self, key) != field.default}
        takes = {mode: needs + _MAY_HAVE.get(mode, ()) for mode, needs in _NEEDS.items()}
        for key in _NEEDS[self.mode]:
            if key not in given:
                raise ValueError(f"mode {self.mode} needs {key}")
        for key in sorted(given):
            modes = [mode for mode, keys in takes.items() if key in keys]
            if modes and self.mode not in modes:
                raise ValueError(f"{key} goes with mode {', '.join(modes)}; mode is {self.mode}: leave {key} out, or set the mode")
        return self

    @model_validator(mode="after")
    def _trace_has_no_cancels(self) -> Stage:
        if self.mode == "trace" and self.cancel_ratio is not None:
            raise ValueError("cancel_ratio: a trace has no cancellations; leave it out, or set another mode")
        if self.mode == "trace" and self.duplicate_ratio is not None:
            raise ValueError("duplicate_ratio: a trace has its own repeats; leave it out, or set another mode")
        return self

    @model_validator(mode="after")
    def _ends(self, info: ValidationInfo) -> Stage:
        if self.mode != "trace" and self.requests is None and self.duration_s is None:
            raise ValueError("a stage needs requests, duration_s, or both (it ends at the first)")
        if is_of_a_run(info):
            return self
        sent = max(self.requests or 0 if self.duration_s is None else 0, self.warmup_requests)
        if self.mode not in ("trace", "concurrency") and not isinstance(self.rate, Ramp) and sent > self.level * MOST_SECONDS:
            raise ValueError(
                f"{sent:,} requests at {self.level:g} requests/s take {sent / self.level / 86_400:,.1f} days; the upper bound is "
                f"{MOST_DAYS} days: raise the rate, or lower requests and warmup_requests"
            )
        return self

    @model_validator(mode="after")
    def _ramp_fits(self) -> Stage:
        key, ramp = ("concurrency", self.concurrency) if self.mode == "concurrency" else ("rate", self.rate)
        if not isinstance(ramp, Ramp):
            return self
        if self.mode == "burst":
            raise ValueError("mode burst takes one rate, not a ramp: give a number, or several stages")
        if self.duration_s is None:
            raise ValueError(f"a ramp of {key} needs duration_s")
        if ramp.over_s is not None and ramp.over_s > self.duration_s:
            raise ValueError(f"{key}.over_s ({ramp.over_s:g}) goes over duration_s ({self.duration_s:g}): lower it, or raise duration_s")
        return self

    @property
    def level(self) -> float:
        """Users, or requests per second: for a ramp those at its end, for bursts the mean, for a trace its speed."""
        if self.mode == "trace":
            return self.speed
        level = self.concurrency if self.mode == "concurrency" else self.rate
        assert level is not None
        value = float(level.to if isinstance(level, Ramp) else level)
        if self.on_s is not None and self.off_s is not None:
            return value * self.on_s / (self.on_s + self.off_s)
        return value

    @property
    def label(self) -> str:
        if self.name:
            return self.name
        cancels = "" if self.cancel_ratio is None else f"-cancel{self.cancel_ratio:g}"
        bound = "" if self.max_in_flight is None else f"-max{self.max_in_flight}"
        return f"{self._load_label}{bound}{cancels}{'' if self.duplicate_ratio is None else f'-dup{self.duplicate_ratio:g}'}"

    @property
    def drawn_as(self) -> str:
        """The name from which its random streams are derived. Stages with equal names send the same requests."""
        return self.same_as or self.label

    @property
    def _load_label(self) -> str:
        if self.mode == "trace":
            return f"trace-x{self.speed:g}"
        level = self.concurrency if self.mode == "concurrency" else self.rate
        shown = level.label if isinstance(level, Ramp) else f"{level:g}"
        return f"c{shown}" if self.mode == "concurrency" else f"{self.mode}-{shown}"


_MAY_DIFFER = {"name", "cancel_ratio", "same_as", "warmup_requests"}


def check_repeats(load: Sequence[Stage], has_cancel: bool) -> None:
    """ValueError for a stage that repeats one that is not before it, or that is unlike it, and for a `cancel_ratio` without a `cancel`."""
    earlier: dict[str, Stage] = {}
    for number, stage in enumerate(load):
        if stage.cancel_ratio and not has_cancel:
            raise ValueError(
                f"load.{number}.cancel_ratio ({stage.cancel_ratio:g}): workload.cancel is null; give it, it says how long clients wait"
            )
        if stage.same_as is not None:
            _check_repeat(f"load.{number}.same_as ({stage.same_as})", stage, earlier)
        else:
            earlier[stage.label] = stage


def _check_repeat(key: str, stage: Stage, earlier: Mapping[str, Stage]) -> None:
    first = earlier.get(stage.same_as or "")
    if first is None:
        known = ", ".join(earlier) or "none"
        raise ValueError(f"{key}: names no stage before it that has requests of its own; there are: {known}")
    keys = set(Stage.model_fields) - _MAY_DIFFER
    differing = sorted(key for key in keys if getattr(stage, key) != getattr(first, key))
    if differing:
        raise ValueError(f"{key}: {', '.join(differing)} differ from that stage; make them alike, or drop same_as")
