"""The events of a run: their time, kind and content.

A line of events.jsonl has the keys `time_ns`, `kind`, `deployment` and `data`. The class of each kind is in `KINDS`. A kind that is not
listed, of a newer or an older version, is read like any other, and nothing is computed from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from trtbench.rundir import event_kinds, experiment_events, gpu_events
from trtbench.rundir.event_kinds import EventData, Whole, as_json
from trtbench.rundir.lines import Losses, RunDirectoryError, read_lines
from trtbench.rundir.records import Event

KINDS: Mapping[str, type[EventData]] = {
    "run_started": event_kinds.RunStarted,
    "run_resumed": event_kinds.RunResumed,
    "run_finished": event_kinds.RunFinished,
    "interrupted": event_kinds.Interrupted,
    "attempt_set_aside": event_kinds.AttemptSetAside,
    "plan_drawn": event_kinds.PlanDrawn,
    "build_step": event_kinds.BuildStepStarted,
    "engine_built": event_kinds.EngineBuilt,
    "deployment_started": event_kinds.DeploymentStarted,
    "deployment_finished": event_kinds.DeploymentFinished,
    "deployment_skipped": event_kinds.DeploymentSkipped,
    "server_starting": event_kinds.ServerStarting,
    "server_ready": event_kinds.ServerReady,
    "server_lost": event_kinds.ServerLost,
    "server_fault": event_kinds.ServerFault,
    "stage_started": event_kinds.StageStarted,
    "stage_finished": event_kinds.StageFinished,
    "load_stopped": event_kinds.LoadStopped,
    "load_client": event_kinds.LoadClient,
    "telemetry_finished": event_kinds.TelemetryFinished,
    "gpu_locked": gpu_events.GpuLocked,
    "gpu_restored": gpu_events.GpuRestored,
    "gpu_not_restored": gpu_events.GpuNotRestored,
    "gpu_ballast": gpu_events.GpuBallast,
    "gpu_cooled": gpu_events.GpuCooled,
    "gpu_busy": gpu_events.GpuBusy,
    "context_search_started": experiment_events.ContextSearchStarted,
    "context_trial": experiment_events.ContextTrial,
    "context_limit_found": experiment_events.ContextLimitFound,
    "context_search_finished": experiment_events.ContextSearchFinished,
    "reload_started": experiment_events.ReloadStarted,
    "reload_finished": experiment_events.ReloadFinished,
    "model_versions": experiment_events.ModelVersions,
    "race_decided": experiment_events.RaceDecided,
    "rounds_decided": experiment_events.RoundsDecided,
    "results_imported": experiment_events.ResultsImported,
    "capacity_search_started": experiment_events.CapacitySearchStarted,
    "capacity_probe": experiment_events.CapacityProbe,
    "capacity_search_finished": experiment_events.CapacitySearchFinished,
}
_NAMES = {data: kind for kind, data in KINDS.items()}
_READERS: dict[type[EventData], TypeAdapter[Any]] = {}
"""Validators by kind, made when the first event of a kind is read."""
Data = TypeVar("Data", bound=EventData)


def event_of(time_ns: int, data: EventData, deployment: str = "") -> Event:
    return Event(time_ns, _NAMES[type(data)], deployment, as_json(data))


def content(event: Event) -> EventData | None:
    """The content of an event, or None for a kind that is not listed. ValidationError if its data are not those of its kind."""
    data = KINDS.get(event.kind)
    return _read(data, event.data) if data else None


def timed(events: Iterable[Event], data: type[Data]) -> Iterator[tuple[int, Data]]:
    """(Time in ns, content) of each event of a kind, in order."""
    kind = _NAMES[data]
    return ((event.time_ns, _read(data, event.data)) for event in events if event.kind == kind)


def times_ns(events: Iterable[Event], *kinds: type[EventData]) -> list[int]:
    """The times of the events of these kinds, in order. Their data is not read."""
    return [event.time_ns for event in events if is_kind(event, *kinds)]


def every(events: Iterable[Event], data: type[Data]) -> list[Data]:
    return [said for _, said in timed(events, data)]


def first(events: Iterable[Event], data: type[Data]) -> Data | None:
    return next((said for _, said in timed(events, data)), None)


def is_kind(event: Event, *kinds: type[EventData]) -> bool:
    return any(event.kind == _NAMES[data] for data in kinds)


def read_events(path: Path, losses: Losses) -> list[Event]:
    """The events that can be read, in the order of the file. An event without the data of its kind is left out and noted."""
    if not path.exists():
        losses.note(path, "missing")
    bad: list[str] = []
    try:
        events = list(_checked(path, losses, bad))
    except OSError as error:
        raise RunDirectoryError(f"{path} cannot be read ({error.strerror}): nothing can be said of a run without it") from error
    if bad:
        losses.note(path, "events", len(bad), bad[0])
    return events


class _Row(BaseModel):
    """A line of events.jsonl. `deployment` names a directory."""

    model_config = ConfigDict(strict=True, extra="allow", defer_build=True)
    time_ns: Whole
    kind: str
    deployment: Annotated[str, Field(pattern=r"^[^/\x00]{0,200}$")] = ""
    data: dict[str, object] = Field(default_factory=dict)


def _checked(path: Path, losses: Losses, bad: list[str]) -> Iterator[Event]:
    for row in read_lines(path, losses):
        try:
            read = _Row.model_validate(row)
            event = Event(read.time_ns, read.kind, read.deployment, read.data)
            content(event)
        except ValidationError as error:
            kind = row.get("kind") if isinstance(row, dict) else None
            wrong = error.errors(include_url=False, include_input=False)[0]
            bad.append(f"{kind}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}")
            continue
        yield event


def _read(data: type[Data], said: Mapping[str, object]) -> Data:
    """Read an event's data through JSON text, because pydantic's strict mode then accepts lists for tuples and objects for dataclasses."""
    if data not in _READERS:
        _READERS[data] = TypeAdapter(data)
    read: Data = _READERS[data].validate_json(json.dumps(said), strict=True)
    return read
