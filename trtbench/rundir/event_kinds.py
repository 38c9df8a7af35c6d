"""The kinds of events that every run has, with the fields of `data` in a line of events.jsonl.

A field is declared once, here. The measuring half makes the object, the reporting half reads it (`rundir/events.py`). Fields are in the
order in which they are written. A field with a default may be missing in the run directory of an older version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from trtbench.system.memory import Memory

Whole = Annotated[int, Field(gt=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Number = Annotated[int | float, Field(gt=-1e300, lt=1e300)]
"""A number that keeps its type: a whole number stays an integer."""

IF_KNOWN = {"if_known": True}
"""Metadata of a field that the file does not contain while it is None."""

LoadMode = Literal["concurrency", "constant", "poisson", "gamma", "burst", "trace"]
StageEnd = Literal["done", "steady", "interrupted", "error_bound", "server_lost"]


class EventData:
    """The content of an event. Its kind is its key in `KINDS` of `rundir/events.py`."""

    __slots__ = ()


def as_json(value: object) -> Any:
    """An event's data, with everything in it, as plain JSON."""
    if is_dataclass(value):
        named = ((one, getattr(value, one.name)) for one in fields(value))
        return {one.name: as_json(part) for one, part in named if part is not None or "if_known" not in one.metadata}
    if isinstance(value, Mapping):
        return {key: as_json(part) for key, part in value.items()}
    return [as_json(part) for part in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(EventData):
    scenario: str = ""
    command: Sequence[str] = ()
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed(EventData):
    """A run was resumed. `gap_s`: by the wall clock, since the last event before. The anchor is that of the new session, because the
    monotonic clock may have restarted.
    """

    command: Sequence[str] = ()
    path: str = ""
    anchor_monotonic_ns: Whole | None = None
    anchor_wall_ns: Whole | None = None
    gap_s: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(EventData):
    """The run ended by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted(EventData):
    """The user interrupted the run. `level` 1: requests in flight may end; 2: they are cancelled."""

    level: Count = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSetAside(EventData):
    """A resume moved the directory of an unfinished deployment to `to`."""

    to: str = ""


@dataclass(frozen=True, slots=True)
class LeftOutRows:
    """Rows of an input file that were not used. `first`: the places of the first few."""

    reason: str
    rows: Count
    first: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A dataset or a trace: the number of its rows, how many were not used, and the formats in which they were read."""

    path: str
    rows: Count = 0
    left_out: Count = 0
    reasons: Sequence[LeftOutRows] = ()
    formats: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDrawn(EventData):
    sha256: str
    notes: Sequence[str] = ()
    inputs: Sequence[InputFile] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStarted(EventData):
    dtype: str | None = field(default=None, metadata=IF_KNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFinished(EventData):
    ended: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSkipped(EventData):
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReady(EventData):
    """A server is ready. Addresses are host:port."""

    seconds: Number | None = None
    grpc: str = ""
    http: str = ""
    metrics: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLost(EventData):
    """A server ended. `exit_code` is 128 + n if signal n ended the process, None while it still runs. `memory`: which memory ran out, if
    the log names it.
    """

    exit_code: int | None = None
    cause: str = ""
    log_tail: str = ""
    out_of_memory: bool = False
    memory: Memory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFault(EventData):
    """A fault of a server that kept running."""

    level: Count = 2
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted(EventData):
    name: str
    mode: LoadMode
    asked: Number
    planned: Count | None = None
    workers: Count | None = None


@dataclass(frozen=True, slots=True)
class StageFinished(EventData):
    """The measured phase of a stage: when it began and ended, and what was requested.

    `asked`: users (concurrency) or requests per second; of a ramp its end, of a trace its speed. `start_ns` is before the first measured
    request is due, `end_ns` after the last has ended. Triton's counters are read at `counted_from_ns` before and `counted_to_ns` after both
    (None: not read); at the second reading they lacked `not_counted` completed requests.
    """

    name: str
    mode: LoadMode
    asked: Number
    start_ns: Whole
    end_ns: Whole
    planned: Count
    ended: StageEnd
    counted_from_ns: Whole | None = None
    counted_to_ns: Whole | None = None
    not_counted: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStopped(EventData):
    """The load ended early, in `stage`."""

    why: str = ""
    stage: str = ""
    stages_not_run: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFacts:
    """The transport of one load worker. `stamps` is kernel or user, with `stamps_why` for the latter.

    `paced_reads` were made after a pause, in `paced_passes`; `paced_reads_crowded` of them held more than one message. `paced_ends` counts
    answers whose end was read after a pause, and `paced_end_lag_p99_ns` is over all answers how much later their end was read for that.
    """

    transport: str
    loop: str = ""
    stamps: str
    stamps_why: str = ""
    requests_resent: Count = 0
    connections: Count = 0
    connections_opened: Count | None = field(default=None, metadata=IF_KNOWN)
    connections_lost: Count = 0
    last_loss: str | None = field(default=None, metadata=IF_KNOWN)
    streams_renewed: Count | None = field(default=None, metadata=IF_KNOWN)
    streams_retired: Count | None = field(default=None, metadata=IF_KNOWN)
    streams_per_connection: Count | None = field(default=None, metadata=IF_KNOWN)
    stamped_reads: Count | None = field(default=None, metadata=IF_KNOWN)
    stamp_fallbacks: Count | None = field(default=None, metadata=IF_KNOWN)
    read_pause_longest_ns: Count | None = field(default=None, metadata=IF_KNOWN)
    paced_passes: Count | None = field(default=None, metadata=IF_KNOWN)
    paced_reads: Count | None = field(default=None, metadata=IF_KNOWN)
    paced_reads_crowded: Count | None = field(default=None, metadata=IF_KNOWN)
    paced_ends: Count | None = field(default=None, metadata=IF_KNOWN)
    paced_end_lag_p99_ns: Count | None = field(default=None, metadata=IF_KNOWN)
    clock_offset_drift_ns: Number | None = field(default=None, metadata=IF_KNOWN)
    clock_offset_uncertainty_ns: Number | None = field(default=None, metadata=IF_KNOWN)
    clock_steps: Count | None = field(default=None, metadata=IF_KNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadClient(EventData):
    """The transports of all workers. `workers`: None for a worker that ended before it could report, which an older version wrote as {}."""

    workers: Sequence[Annotated[ClientFacts | None, BeforeValidator(lambda facts: facts or None)]]


@dataclass(slots=True)
class SourceTally:
    """Results of a source's ticks: readings + failures + skipped = elapsed ticks + 1 for the reading at the end.

    `skipped` ticks elapsed while an earlier reading was still running. `last_error` is "" if none failed. `note` lists series that the
    source does not have here.
    """

    readings: Count = 0
    failures: Count = 0
    skipped: Count = 0
    last_error: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryFinished(EventData):
    sources: Mapping[str, SourceTally]


@dataclass(frozen=True, slots=True)
class BuildStep:
    label: str
    seconds: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStepStarted(EventData):
    dtype: str
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineBuilt(EventData):
    dtype: str
    cached: bool
    size_bytes: Count
    sha256: str
    steps: Sequence[BuildStep]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStarting(EventData):
    """Triton is about to be started."""
