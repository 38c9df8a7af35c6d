"""Means over the finished requests of a stage by the server's own counters, of servers that report sums and not times of each request."""

from __future__ import annotations

from dataclasses import dataclass

from trtbench.analysis.stats.window import border_readings, rise
from trtbench.rundir.samples import Samples
from trtbench.rundir.series import SeriesName

ENGINE_COUNTERS: tuple[SeriesName, ...] = (
    *("engine_requests", "engine_queue_ns", "engine_prefill_ns", "engine_decode_ns"),
    *("front_end_in_ns", "front_end_out_ns", "engine_preemptions", "prefix_cache_queries", "prefix_cache_hits"),
)
"""Counters that a server increases when a request is finished, or before."""


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """`requests` are those that the server finished in the stage. A mean is None where the server has no such counter.

    Queue: until the engine first computes the request; prefill: from there to its first token; decode: to its last. `front_end_in` is
    before the queue, and `front_end_out` the way of the first token back through the server. `prefix_hit_ratio` is found / looked up, of
    prompt tokens or blocks.
    """

    requests: int
    queue_mean_ns: int | None
    prefill_mean_ns: int | None
    decode_mean_ns: int | None
    front_end_in_mean_ns: int | None
    front_end_out_mean_ns: int | None
    prefix_hit_ratio: float | None
    preemptions: int | None


def engine_times(samples: Samples, start_ns: int, end_ns: int) -> EngineTimes | None:
    """The means of a stage, or None if the server does not count finished requests, or finished none."""
    borders = border_readings(samples.series("engine_requests"), start_ns, end_ns)
    if borders is None:
        return None
    requests = round(rise(samples.series("engine_requests"), *borders))
    if not requests:
        return None

    def risen(name: SeriesName) -> float | None:
        return rise(samples.series(name), *borders) if len(samples.series(name)[0]) else None

    def mean(name: SeriesName) -> int | None:
        total = risen(name)
        return None if total is None else round(total / requests)

    queries, hits, preemptions = risen("prefix_cache_queries"), risen("prefix_cache_hits"), risen("engine_preemptions")
    return EngineTimes(
        requests=requests,
        queue_mean_ns=mean("engine_queue_ns"),
        prefill_mean_ns=mean("engine_prefill_ns"),
        decode_mean_ns=mean("engine_decode_ns"),
        front_end_in_mean_ns=mean("front_end_in_ns"),
        front_end_out_mean_ns=mean("front_end_out_ns"),
        prefix_hit_ratio=hits / queries if queries and hits is not None else None,
        preemptions=None if preemptions is None else round(preemptions),
    )
