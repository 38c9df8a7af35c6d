"""Reloads of the model while the load runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trtbench.scenario.build_options import Dtype
from trtbench.scenario.part import Part
from trtbench.scenario.stage import Stage

ReloadKind = Literal["new_version", "changed_config", "unload_load", "broken"]


class Reload(Part):
    """One reload. Exactly one version is served: the latest that loads."""

    kind: ReloadKind = Field(
        description="A new version directory, the same version under a changed config.pbtxt, an unload and then a load, or a new version "
        "that cannot load, which the old one should outlive; what broke is then taken away again."
    )
    to: Dtype | None = Field(None, description="Of new_version: the engine it serves from then on; null: the same.")
    max_queue_delay_us: int | None = Field(None, ge=0, description="Of changed_config: the batcher's new delay.")

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Reload:
        if self.to is not None and self.kind != "new_version":
            raise ValueError(f"to ({self.to}) goes with kind new_version; kind is {self.kind}: leave to out, or set the kind")
        if (self.max_queue_delay_us is not None) != (self.kind == "changed_config"):
            raise ValueError(
                f"max_queue_delay_us ({self.max_queue_delay_us}) goes with kind changed_config, which needs it; kind is {self.kind}: "
                "give it there and only there"
            )
        return self


class HotReload(Part):
    """Reloads one after another, counted from the start of the one stage of load."""

    before_s: float = Field(10.0, ge=0, description="Seconds of undisturbed load before the first reload.")
    every_s: float = Field(15.0, gt=0, description="From one reload's start to the next one's; a longer reload delays the next.")
    reloads: tuple[Reload, ...] = Field(min_length=1, description="In their order.")

    @property
    def engines(self) -> tuple[Dtype, ...]:
        """Those that a reload switches to."""
        return tuple(dict.fromkeys(reload.to for reload in self.reloads if reload.to))

    @property
    def last_start_s(self) -> float:
        return self.before_s + self.every_s * (len(self.reloads) - 1)

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
                "lower hot_reload.every_s"
            )
