"""What each worker of the load generator reported of its transport after the load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtbench.rundir.event_kinds import ClientFacts, LoadClient, ServerReady
from trtbench.rundir.events import timed, times_ns
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
    """By worker, from the deployment's `load_client` event, without those that ended before they could report.

    () for a run of format 1, or one that was killed before its load was over.
    """
    began_ns = next(iter([*times_ns(events, ServerReady), *(event.time_ns for event in events)]), 0)
    for time_ns, client in timed(events, LoadClient):
        return tuple(_transport(worker, time_ns - began_ns) for worker in client.workers if worker)
    return ()


def _transport(facts: ClientFacts, length_ns: int) -> Transport:
    return Transport(
        name=facts.transport,
        loop=facts.loop,
        stamps=facts.stamps,
        why=facts.stamps_why,
        connections=facts.connections if facts.connections_opened is None else facts.connections_opened,
        connections_lost=facts.connections_lost,
        stamped_reads=facts.stamped_reads or 0,
        stamp_fallbacks=facts.stamp_fallbacks or 0,
        clock_drift_ratio=(facts.clock_offset_drift_ns or 0) / max(length_ns, 1),
        clock_steps=facts.clock_steps or 0,
        resent=facts.requests_resent,
    )
