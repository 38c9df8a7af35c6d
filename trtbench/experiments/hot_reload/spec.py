"""Reloads of the model while the load runs."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from trtbench.rundir.experiment_events import ReloadKind
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.parts.bounds import Factor, Microseconds, Repeats, Seconds, SecondsOrNone, WholeSeconds
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.parts.part import Part

_SWITCHES = ("new_version", "blue_green")


class VersionPolicy(Part):
    """Triton's `version_policy` of the model. A reload makes new numbers, so `specific` numbers would exclude the new version."""

    latest: Repeats = Field(
        1, description="Number of versions that are served, those with the highest numbers; the client uses the highest."
    )


class Reload(Part):
    """One reload. The latest version that loads serves the client; older ones stay as the version policy says."""

    kind: ReloadKind = Field(
        description="A new version directory, the same version under a changed config.pbtxt, an unload and then a load, a new version "
        "that cannot load while the old one should continue (it is removed afterwards), or a second model next to the first: "
        "the client switches to it when it is ready, and the first is unloaded when its requests are over."
    )
    to: Dtype | None = Field(None, description="Of new_version and blue_green: the engine that serves from then on; null: the same.")
    max_queue_delay_us: Microseconds | None = Field(None, description="Of changed_config: the batcher's new delay.")
    broken: Literal["model", "engine"] | None = Field(
        None, description="Of broken: a model.py that raises (the default), or an engine whose weights are cut in half."
    )

    @property
    def breaks(self) -> Literal["model", "engine"] | None:
        return (self.broken or "model") if self.kind == "broken" else None

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Reload:
        if self.to is not None and self.kind not in _SWITCHES:
            raise ValueError(f"to ({self.to}) goes with kind {' or '.join(_SWITCHES)}; kind is {self.kind}: leave to out, or set the kind")
        if (self.max_queue_delay_us is not None) != (self.kind == "changed_config"):
            raise ValueError(
                f"max_queue_delay_us ({self.max_queue_delay_us}) goes with kind changed_config, which needs it; kind is {self.kind}: "
                "give it there and only there"
            )
        if self.broken is not None and self.kind != "broken":
            raise ValueError(f"broken ({self.broken}) goes with kind broken; kind is {self.kind}: leave broken out, or set the kind")
        return self


class PlannedReload(NamedTuple):
    """One planned reload. `number` counts all reloads from 1, `repeat` those of its kind."""

    number: int
    repeat: int
    reload: Reload
    warms_up: bool


class HotReload(Part):
    """Reloads one after another, at instants counted from the start of the one stage of load."""

    before_s: SecondsOrNone = Field(10.0, description="Seconds of undisturbed load before the first reload.")
    every_s: Seconds = Field(
        15.0, description="Seconds from the start of one reload to the start of the next; a longer reload delays the next."
    )
    reloads: tuple[Reload, ...] = Field(min_length=1, description="Reloads in the order in which they are done.")
    repeats: Repeats = Field(1, description="Number of times that the whole list is done; with 2 or more the report shows the spread.")
    control: Literal["explicit", "poll"] = Field(
        "explicit",
        description="explicit: trtbench requests loads and unloads. poll: trtbench changes only files, and the server finds the changes.",
    )
    poll_s: WholeSeconds = Field(1, description="Interval at which the server polls the repository with control poll, in seconds.")
    version_policy: VersionPolicy = Field(VersionPolicy(), description="Which versions are served at a time.")
    model_warmup: bool | Literal["both"] = Field(
        False,
        description="Whether what a reload loads is warmed up by Triton before it serves (model_warmup in config.pbtxt); both: the list is "
        "run without and with it, alternately. The server's start is never warmed up.",
    )
    max_spike: Factor = Field(
        2.0, description="A finding names reloads whose TTFT or ITL in the window exceeds that before by more than this factor."
    )

    @model_validator(mode="after")
    def _one_engine_of_several_versions(self) -> HotReload:
        """ValueError for a reload that changes the engine while several versions are served: config.pbtxt names the engine, and a model
        has one config.pbtxt for all versions.
        """
        switches = [reload.to for reload in self.reloads if reload.kind == "new_version" and reload.to]
        if self.version_policy.latest > 1 and switches:
            raise ValueError(
                f"version_policy.latest ({self.version_policy.latest}) keeps older versions, but new_version to {switches[0]} gives "
                "another engine to every version that is served: leave to out, use blue_green, or set latest to 1"
            )
        return self

    @property
    def engines(self) -> tuple[Dtype, ...]:
        """The engines to which a reload switches."""
        return tuple(dict.fromkeys(reload.to for reload in self.reloads if reload.to))

    @property
    def planned(self) -> tuple[PlannedReload, ...]:
        warmups = (False, True) if self.model_warmup == "both" else (self.model_warmup,)
        every = [(repeat, reload, warm) for repeat in range(1, self.repeats + 1) for warm in warmups for reload in self.reloads]
        return tuple(PlannedReload(number, *one) for number, one in enumerate(every, 1))

    @property
    def last_start_s(self) -> float:
        return self.before_s + self.every_s * (len(self.planned) - 1)

    def check_load(self, load: tuple[Stage, ...]) -> None:
        """ValueError unless `load` is one open-loop stage that lasts beyond the last reload."""
        if len(load) != 1 or load[0].mode == "concurrency":
            raise ValueError(
                f"hot_reload needs exactly one stage of open-loop load, load has {[stage.label for stage in load]}: a closed loop waits "
                "while a model reloads and hides it; give one stage of mode poisson or constant"
            )
        duration_s = load[0].duration_s
        if duration_s is not None and duration_s <= self.last_start_s:
            raise ValueError(
                f"load: duration_s ({duration_s:g}) ends before the last reload, due at {self.last_start_s:g} s: raise it, or "
                "lower hot_reload.every_s or repeats"
            )
