"""A long stage hour by hour, and the series that must not grow in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trtbench.analysis.stage.latency import NS_PER_S, first_answers_ns
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.stats.trends import Drift, drift
from trtbench.analysis.stats.window import Level, gpu_memory, inside
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests
from trtbench.rundir.samples import Samples
from trtbench.rundir.series import SeriesName

_GROWING: tuple[SeriesName, ...] = ("server_rss_bytes", "server_fds", "server_threads", "client_rss_bytes")
HOUR_S = 3600
LEAST_HOURS = 2


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of a stage, by the instants at which requests ended; the last may be shorter. Levels are means; None if nothing was read.

    `kv_blocks_least`: the fewest KV blocks in use. Blocks that are never returned raise it.
    """

    start_s: float
    length_s: float
    completed: int
    failed: int
    first_answer_ns: Distribution
    e2e_latency_ns: Distribution
    server_rss_bytes: float | None
    server_fds: float | None
    server_threads: float | None
    gpu_memory_bytes: float | None
    kv_blocks_least: float | None


def hours(requests: Requests, samples: Samples, start_ns: int, end_ns: int) -> tuple[Hour, ...] | None:
    """The hours of a stage of LEAST_HOURS or more; None for a shorter one."""
    length_s = (end_ns - start_ns) / NS_PER_S
    if length_s < LEAST_HOURS * HOUR_S:
        return None
    starts = range(start_ns, end_ns, HOUR_S * NS_PER_S)
    return tuple(_hour(requests, samples, start_ns, at, min(at + HOUR_S * NS_PER_S, end_ns)) for at in starts)


def _hour(requests: Requests, samples: Samples, stage_ns: int, start_ns: int, end_ns: int) -> Hour:
    def mean(name: SeriesName) -> float | None:
        level = Level.of(inside(samples.series(name), start_ns, end_ns))
        return level.mean if level else None

    ended = requests.select((requests.done_ns != MISSING) & (requests.done_ns >= start_ns) & (requests.done_ns < end_ns))
    done = ended.select(ended.ended(Outcome.COMPLETED))
    first = first_answers_ns(done)
    memory, blocks = (Level.of(inside(series, start_ns, end_ns)) for series in (gpu_memory(samples), samples.series("kv_blocks_used")))
    return Hour(
        start_s=(start_ns - stage_ns) / NS_PER_S,
        length_s=(end_ns - start_ns) / NS_PER_S,
        completed=len(done),
        failed=len(ended) - len(done) - int(ended.ended(Outcome.CANCELLED).sum()),
        first_answer_ns=Distribution.of(first[first != MISSING]),
        e2e_latency_ns=Distribution.of(done.done_ns - done.due_ns),
        server_rss_bytes=mean("server_rss_bytes"),
        server_fds=mean("server_fds"),
        server_threads=mean("server_threads"),
        gpu_memory_bytes=memory.mean if memory else None,
        kv_blocks_least=blocks.min if blocks else None,
    )


def drifts(requests: Requests, samples: Samples, start_ns: int, end_ns: int, counts_cached_blocks: bool) -> dict[str, Drift]:
    """The drift of each series that must not grow, by its name: memory, descriptors, threads, KV blocks (unless cached ones count among
    them), the time to the first answer, and the share of requests that did not complete.
    """
    found = {str(name): drift(samples.series(name), start_ns, end_ns) for name in _GROWING}
    found["gpu_memory_used_bytes"] = drift(gpu_memory(samples), start_ns, end_ns)
    if not counts_cached_blocks:
        found["kv_blocks_used"] = drift(samples.series("kv_blocks_used"), start_ns, end_ns)
    ended = requests.select((requests.done_ns != MISSING) & ~requests.ended(Outcome.CANCELLED))
    order = np.argsort(ended.done_ns, kind="stable")
    times, failed = ended.done_ns[order], (~ended.ended(Outcome.COMPLETED))[order].astype(np.float64)
    found["error_ratio"] = drift((times, failed), start_ns, end_ns, of="mean")
    first = first_answers_ns(ended)[order]
    answered = (first != MISSING) & (failed == 0)
    found["first_answer_ns"] = drift((times[answered], first[answered].astype(np.float64)), start_ns, end_ns)
    return {name: value for name, value in found.items() if value}
