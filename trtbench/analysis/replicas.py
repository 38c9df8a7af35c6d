"""Several servers under one load: what each of them did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtbench.analysis.stats.window import Level, increase, inside
from trtbench.rundir import Samples
from trtbench.rundir.series import SeriesName


@dataclass(frozen=True, slots=True)
class Replica:
    """One of several servers over a stage; None: not read. `requests` are those that its own statistics count as successes."""

    requests: int | None
    cpu_cores: Level | None
    rss_bytes: Level | None


def replicas(samples: Samples, start_ns: int, end_ns: int) -> tuple[Replica, ...]:
    """In the servers' order; () where there is one."""
    names: tuple[SeriesName, ...] = ("replica_cpu_cores", "replica_rss_bytes")
    labels = samples.labels("replica_success_count", "replica_rss_bytes")

    def one(label: str) -> Replica:
        requests = increase(samples.series("replica_success_count", label), start_ns, end_ns)
        cpu, rss = (inside(samples.series(name, label), start_ns, end_ns) for name in names)
        return Replica(None if requests is None else round(requests), Level.of(cpu), Level.of(rss))

    return tuple(one(label) for label in sorted(labels, key=int))


def imbalance(found: Sequence[Replica]) -> float | None:
    """Requests of the busiest server over an even share: 1 is even, n is all on one of n. None where a server's are not known."""
    counts = [replica.requests for replica in found if replica.requests is not None]
    if len(counts) < max(2, len(found)) or not sum(counts):
        return None
    return max(counts) * len(counts) / sum(counts)
