"""A source of samples that trtbench does not have: whether the lamp in the room is lit."""

from __future__ import annotations

from trtbench.rundir.records import Sample
from trtbench.rundir.series import Unlisted
from trtbench.system.clock import now_ns
from trtbench.telemetry.sources import SamplerConfig, SourceEntry

LAMP_LIT = Unlisted("lamp_lit")


class Lamp:
    def read(self) -> list[Sample]:
        return [Sample(now_ns(), LAMP_LIT, "desk", 1.0)]

    def close(self) -> None: ...


def _open(config: SamplerConfig, timeout_s: float) -> Lamp:
    return Lamp()


LAMP = SourceEntry(_open)
