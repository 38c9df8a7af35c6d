"""What the worker pool and its worker processes say to each other: orders to a worker and its reports, each a line of JSON.

`do` names an order and `said` a report, so that a line reads back as the object that was written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import Field, TypeAdapter

from trtbench.load.generator import PhaseResult
from trtbench.load.tally import Counts
from trtbench.rundir.event_kinds import ClientFacts
from trtbench.rundir.latency_limits import FinishedRequest

StopWay = Literal["steady", "interrupt", "server_lost", "cancel"]
"""The methods of `StopSignal`."""


@dataclass(frozen=True, slots=True)
class PartOfPhase:
    """The share of worker number `worker` of `workers` in a phase of stage number `stage` of the plan."""

    stage: int
    warmup: bool
    worker: int
    workers: int


@dataclass(frozen=True, slots=True)
class PreparePhase:
    part: PartOfPhase
    do: Literal["prepare_phase"] = "prepare_phase"


@dataclass(frozen=True, slots=True)
class RunPhase:
    """Run the prepared phase from `start_ns`, the same instant for all workers."""

    start_ns: int
    do: Literal["run_phase"] = "run_phase"


@dataclass(frozen=True, slots=True)
class SkipPhase:
    """Record the requests of a phase that will not be run."""

    part: PartOfPhase
    do: Literal["skip_phase"] = "skip_phase"


@dataclass(frozen=True, slots=True)
class StopPhase:
    way: StopWay
    do: Literal["stop_phase"] = "stop_phase"


@dataclass(frozen=True, slots=True)
class TakePlan:
    """Read another plan, whose stages the next phases belong to."""

    plan: Path
    do: Literal["take_plan"] = "take_plan"


@dataclass(frozen=True, slots=True)
class RenewStreams:
    """Use no open stream again, because the model was reloaded."""

    do: Literal["renew_streams"] = "renew_streams"


@dataclass(frozen=True, slots=True)
class SwitchModel:
    """Send requests from now on to another model of the server."""

    model: str
    do: Literal["switch_model"] = "switch_model"


@dataclass(frozen=True, slots=True)
class Close:
    do: Literal["close"] = "close"


Order: TypeAlias = PreparePhase | RunPhase | SkipPhase | StopPhase | TakePlan | RenewStreams | SwitchModel | Close


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has reached the server."""

    said: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class Prepared:
    said: Literal["prepared"] = "prepared"


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts of the running phase, and the requests that ended since the last report, if they are watched. Those due before
    `over_until_ns` have all been reported.

    `streak` is (success_ns, failures_ns) of an ErrorStreak.
    """

    counts: Counts
    finished: list[FinishedRequest] = field(default_factory=list)
    over_until_ns: int = 0
    streak: tuple[int, list[int]] = (0, [])
    said: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class PhaseDone:
    """`cpu_ns`: the CPU time that the worker used in the phase."""

    result: PhaseResult
    cpu_ns: int
    progress: Progress
    said: Literal["phase_done"] = "phase_done"


@dataclass(frozen=True, slots=True)
class Switched:
    """All requests to earlier models are over."""

    model: str
    said: Literal["switched"] = "switched"


@dataclass(frozen=True, slots=True)
class Closed:
    facts: ClientFacts
    said: Literal["closed"] = "closed"


@dataclass(frozen=True, slots=True)
class Fault:
    """The error with which the worker ended: `kind` is its class, `errno` and `file` are those of an OSError."""

    message: str
    kind: str = ""
    errno: int | None = None
    file: str | None = None
    said: Literal["fault"] = "fault"


Report: TypeAlias = Ready | Prepared | Progress | PhaseDone | Switched | Closed | Fault
Answer = TypeVar("Answer", Ready, Prepared, PhaseDone, Closed)

_ORDER: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="do")])
_REPORT: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="said")])


def order_line(order: Order) -> bytes:
    return _ORDER.dump_json(order) + b"\n"


def order_of(line: bytes) -> Order:
    """The order of a line; ValidationError if it is none."""
    return _ORDER.validate_json(line)


def report_line(report: Report) -> bytes:
    return _REPORT.dump_json(report) + b"\n"


def report_of(line: bytes) -> Report:
    return _REPORT.validate_json(line)
