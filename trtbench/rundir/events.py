"""Reads events.jsonl. What analysis takes from the data of an event is checked here once; an event without it is left out and named.

A kind that is not listed has nothing that analysis takes for granted. Keys that are not listed stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trtbench.rundir.lines import RunDirectoryError, read_lines
from trtbench.rundir.losses import Losses
from trtbench.rundir.records import Event, LoadMode

Whole = Annotated[int, Field(gt=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False, gt=-1e300, lt=1e300)]

ReloadKind = Literal["new_version", "changed_config", "unload_load", "blue_green", "broken"]


class _Data(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", defer_build=True)


class _Row(_Data):
    """`deployment` names a directory."""

    time_ns: Whole
    kind: str
    deployment: Annotated[str, Field(pattern=r"^[^/\x00]{0,200}$")] = ""
    data: dict[str, Any] = Field(default_factory=dict)


class _RunStarted(_Data):
    command: list[str] = Field(default_factory=list)


class _RunResumed(_Data):
    gap_s: Number
    anchor_monotonic_ns: Whole | None = None
    anchor_wall_ns: Whole | None = None


class _PlanDrawn(_Data):
    sha256: str


class _ServerReady(_Data):
    seconds: Number | None = None


class _StageStarted(_Data):
    name: str
    mode: LoadMode
    asked: Number
    planned: Count | None = None


class _StageFinished(_Data):
    name: str
    mode: LoadMode
    asked: Number
    start_ns: Whole
    end_ns: Whole
    planned: Count
    ended: Literal["done", "steady", "interrupted", "error_bound", "server_lost"]
    counted_from_ns: Whole | None = None
    counted_to_ns: Whole | None = None
    not_counted: Count = 0


class _Source(_Data):
    readings: Count = 0
    failures: Count = 0
    last_error: str = ""
    note: str = ""


class _TelemetryFinished(_Data):
    sources: dict[str, _Source]


class _Worker(_Data):
    transport: str
    loop: str = ""
    stamps: str
    stamps_why: str = ""
    connections: Count = 0
    connections_opened: Count = 0
    connections_lost: Count = 0
    stamped_reads: Count = 0
    stamp_fallbacks: Count = 0
    clock_offset_drift_ns: Number = 0
    clock_steps: Count = 0


class _LoadClient(_Data):
    workers: list[_Worker | None]


class _ServerLost(_Data):
    cause: str = ""
    out_of_memory: bool = False
    memory: Literal["device", "host"] | None = None


class _SearchStarted(_Data):
    output_tokens: Count
    block_tokens: Count
    max_positions: Count
    longest_prompt_tokens: Count | None = None


class _MemoryShort(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)
    kind: Literal["machine", "cgroup"]
    limit_bytes: Count
    available_bytes: Whole


class _Trial(_Data):
    stage: str
    start_ns: Whole
    end_ns: Whole
    users: Annotated[Count, Field(ge=1)]
    input_tokens: Count
    phase: str
    passed: bool
    healthy: bool | None
    blocks_left: Whole | None
    stop: str | None
    memory: _MemoryShort | dict[str, Any] | None = None
    log_says: Literal["kv_cache", "device", "host"] | None = None


class _SearchFinished(_Data):
    ended: str


class _Reload(_Data):
    number: Whole
    repeat: Whole = 1
    control: str = "explicit"
    to: str | None = None
    breaks: str | None = None
    version: str | None = None
    loaded_s: Number | None = None
    load_s: Number | None = None
    unload_s: Number | None = None
    switched_s: Number | None = None
    drain_s: Number | None = None
    versions_before: dict[str, str] | None = None
    versions_after: dict[str, str] | None = None


class _ReloadStarted(_Reload):
    reload: ReloadKind


class _ReloadFinished(_Reload):
    reload: ReloadKind = "new_version"


class _Versions(_Data):
    versions: dict[str, str]


class _Decided(_Data):
    dtype: str
    drops: dict[str, list[dict[str, Any]]]


class _OfGpu(_Data):
    gpu: Count


class _Ballast(_OfGpu):
    held_bytes: Count


class _Locked(_OfGpu):
    settings: dict[str, Any]
    previous: dict[str, Any]


class _Process(_Data):
    pid: Count
    name: str | None


class _Busy(_Data):
    stage: str
    gpu: str
    processes: list[_Process]


class _Cooled(_Data):
    stage: str
    reached: bool
    temperature_c: Number | None
    asked_c: Number


KINDS: dict[str, type[_Data]] = {
    "run_started": _RunStarted,
    "run_resumed": _RunResumed,
    "plan_drawn": _PlanDrawn,
    "server_ready": _ServerReady,
    "stage_started": _StageStarted,
    "stage_finished": _StageFinished,
    "telemetry_finished": _TelemetryFinished,
    "load_client": _LoadClient,
    "server_lost": _ServerLost,
    "context_search_started": _SearchStarted,
    "context_trial": _Trial,
    "context_search_finished": _SearchFinished,
    "reload_started": _ReloadStarted,
    "reload_finished": _ReloadFinished,
    "model_versions": _Versions,
    "race_decided": _Decided,
    "gpu_ballast": _Ballast,
    "gpu_locked": _Locked,
    "gpu_restored": _OfGpu,
    "gpu_not_restored": _OfGpu,
    "gpu_busy": _Busy,
    "gpu_cooled": _Cooled,
}


def read_events(path: Path, losses: Losses) -> list[Event]:
    """Those that can be read, in the order of the file."""
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


def _checked(path: Path, losses: Losses, bad: list[str]) -> Iterator[Event]:
    for row in read_lines(path, losses):
        try:
            read = _Row.model_validate(row)
            if shape := KINDS.get(read.kind):
                shape.model_validate(read.data)
        except ValidationError as error:
            kind = row.get("kind") if isinstance(row, dict) else None
            first = error.errors(include_url=False, include_input=False)[0]
            bad.append(f"{kind}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
            continue
        yield Event(read.time_ns, read.kind, read.deployment, read.data)
