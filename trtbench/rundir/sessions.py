"""The sessions of a run, one for each start or resume, and which attempt at a deployment counts, derived from events.

The monotonic clock may have restarted between two sessions (a reboot), so instants of two sessions are never subtracted. Each session has
its own anchor to UTC: the first in environment.json, a later one in its `run_resumed` event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtbench.rundir.event_kinds import AttemptSetAside, DeploymentFinished, Interrupted, RunFinished, RunResumed
from trtbench.rundir.events import first, is_kind
from trtbench.rundir.records import Event

UNFINISHED = ("interrupted", "server_lost")
"""The values of `ended` in `deployment_finished` after which a resume runs the deployment again."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """A resume. `gap_s`: by the wall clock, from the last event before to the resume. `again`: deployments of which an attempt was
    abandoned.
    """

    gap_s: float
    again: tuple[str, ...]


def sessions(events: Sequence[Event]) -> list[list[Event]]:
    """The events of each session, split before each `run_resumed`."""
    cuts = [i for i, event in enumerate(events) if is_kind(event, RunResumed)]
    return [list(events[start:end]) for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True) if start < end]


def length_s(events: Sequence[Event]) -> float:
    """The total length of all sessions, without the gaps between them."""
    return sum(session[-1].time_ns - session[0].time_ns for session in sessions(events)) / 1e9


def resumptions(events: Sequence[Event]) -> tuple[Resumption, ...]:
    found = []
    for session in sessions(events):
        if resumed := first(session[:1], RunResumed):
            again = tuple(event.deployment for event in session if is_kind(event, AttemptSetAside))
            found.append(Resumption(resumed.gap_s, again))
    return tuple(found)


def current(events: Sequence[Event]) -> list[Event]:
    """The events without those of attempts at a deployment that were set aside."""
    last = {event.deployment: i for i, event in enumerate(events) if is_kind(event, AttemptSetAside)}
    return [event for i, event in enumerate(events) if not event.deployment or i > last.get(event.deployment, -1)]


def finished(events: Sequence[Event]) -> frozenset[str]:
    """The deployments that ended and that a resume would not run again."""
    ended = ((event.deployment, first([event], DeploymentFinished)) for event in current(events))
    return frozenset(name for name, end in ended if end and end.ended not in UNFINISHED)


def is_complete(events: Sequence[Event]) -> bool:
    """Whether the last session ended by itself."""
    return any(is_kind(event, RunFinished) for session in sessions(events)[-1:] for event in session)


def is_interrupted(events: Sequence[Event]) -> bool:
    """Whether the last session was interrupted. A resume makes up for an earlier interrupt."""
    return any(is_kind(event, Interrupted) for session in sessions(events)[-1:] for event in session)
