"""What each worker of the load generator told of its transport when the load was over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trtbench.rundir.records import Event


@dataclass(frozen=True, slots=True)
class Transport:
    """One worker. `stamps` is kernel or user, with `why` for the latter; the counts are 0 where the transport does not keep them.

    Kernel stamps are on the wall clock, which is read against the run's about once a second: `clock_drift_ratio` is how far the two
    moved apart in a second (as a part of one), `clock_steps` how often the wall clock was set. For `stamp_fallbacks` reads there was no
    stamp that could be right.
    """

    name: str
    loop: str
    stamps: str
    why: str
    connections: int  # opened, those lost among them
    connections_lost: int
    stamped_reads: int
    stamp_fallbacks: int
    clock_drift_ratio: float
    clock_steps: int
    resent: int = 0  # requests sent again on another stream, for the server cannot have begun them


def transports(events: Sequence[Event]) -> tuple[Transport, ...]:
    """By worker, from the deployment's `load_client` event, without those that ended before they could tell.

    () for a run of format 1, or one that was killed before its load was over.
    """
    told = next((event for event in events if event.kind == "load_client"), None)
    if told is None:
        return ()
    began_ns = next((event.time_ns for event in events if event.kind == "server_ready"), events[0].time_ns)
    return tuple(_transport(facts, told.time_ns - began_ns) for facts in told.data["workers"] if facts)


def _transport(facts: dict[str, Any], length_ns: int) -> Transport:
    return Transport(
        name=facts["transport"],
        loop=facts.get("loop", ""),
        stamps=facts["stamps"],
        why=facts.get("stamps_why", ""),
        connections=facts.get("connections_opened", facts.get("connections", 0)),
        connections_lost=facts.get("connections_lost", 0),
        stamped_reads=facts.get("stamped_reads", 0),
        stamp_fallbacks=facts.get("stamp_fallbacks", 0),
        clock_drift_ratio=facts.get("clock_offset_drift_ns", 0) / max(length_ns, 1),
        clock_steps=facts.get("clock_steps", 0),
        resent=facts.get("requests_resent", 0),
    )
