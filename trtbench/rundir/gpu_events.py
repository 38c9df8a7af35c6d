"""The kinds of events of GPUs: settings and memory that are held, and the state found before a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trtbench.rundir.event_kinds import Count, EventData, Number

GpuSetting = int | float | str | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLocked(EventData):
    """GPU settings were locked. Units are in their names; a previous value is None if it is unknown."""

    gpu: Count
    settings: Mapping[str, GpuSetting]
    previous: Mapping[str, GpuSetting]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRestored(EventData):
    """GPU settings were restored. `left_by`: the process of a killed run that left the settings; None for this run's own."""

    gpu: Count
    settings: Mapping[str, GpuSetting] = field(default_factory=dict)
    left_by: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuNotRestored(EventData):
    gpu: Count
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuBallast(EventData):
    gpu: Count
    device: str = ""
    held_bytes: Count
    free_bytes: Count = 0
    total_bytes: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCooled(EventData):
    stage: str
    asked_c: Number
    temperature_c: Number | None
    waited_s: Number = 0
    reached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    pid: Count
    name: str | None
    memory_bytes: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuBusy(EventData):
    """Other processes use a GPU of the run before a stage."""

    stage: str
    gpu: str
    processes: Sequence[GpuProcess]
