"""What each worker of the load generator reported of its transport after the load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtbench.rundir.event_kinds import ClientFacts, LoadClient, ServerReady
from trtbench.rundir.events import timed, times_ns
from trtbench.rundir.records import Event


@dataclass(frozen=True, slots=True)
class Transport:
    """The report of one worker. `stamps` is "kernel" or "user", with the reason for "user" in `why`. Counts that a transport does not keep
    are 0.

    Kernel timestamps are on the wall clock, which is compared with the run's clock about once a second: `clock_drift_ratio` is the drift
    between the two per second, as a ratio, and `clock_steps` counts how often the wall clock was set. `stamp_fallbacks` counts the reads
    without a plausible kernel timestamp.

    In `paced_passes` the worker read all connections in the middle of an answer together, after a pause; `paced_reads_crowded` of the
    `paced_reads` held more than one message. `paced_end_lag_p99_ns` is over all answers how much later their end was read for a pause.
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
    paced_passes: int = 0
    paced_reads: int = 0
    paced_reads_crowded: int = 0
    read_pause_longest_ns: int = 0
    paced_end_lag_p99_ns: int = 0
    resent: int = 0  # requests sent again on another stream, for the server cannot have begun them


def transports(events: Sequence[Event]) -> tuple[Transport, ...]:
    """Each worker's report, from the deployment's `load_client` event, without workers that ended before they reported.

    The result is () for a run of format 1, and for a run that was killed before the end of its load.
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
        paced_passes=facts.paced_passes or 0,
        paced_reads=facts.paced_reads or 0,
        paced_reads_crowded=facts.paced_reads_crowded or 0,
        read_pause_longest_ns=facts.read_pause_longest_ns or 0,
        paced_end_lag_p99_ns=facts.paced_end_lag_p99_ns or 0,
        resent=facts.requests_resent,
    )
