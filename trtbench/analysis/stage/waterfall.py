"""Where the latency of a stage is spent, from the instant at which a request is due to its last response: on average, and around P99."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trtbench.analysis.stage.batching import TritonBatching
from trtbench.analysis.stage.engine_times import EngineTimes
from trtbench.analysis.stage.latency import Latency, between
from trtbench.rundir.requests import Requests


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Means over the completed requests of a stage. A part is None where nobody reports it; its time is then within `rest_ns`.

    `client_ns`: due to sent. `rest_ns`: what the other parts leave of the total, which is the network, the front end and the way back.
    """

    total_ns: int
    client_ns: int
    rest_ns: int
    front_end_in_ns: int | None
    triton_queue_ns: int | None
    engine_queue_ns: int | None
    prefill_ns: int | None
    decode_ns: int | None
    front_end_out_ns: int | None


def waterfall(latency: Latency, batching: TritonBatching | None, times: EngineTimes | None) -> Waterfall | None:
    """The parts of the mean end-to-end latency; None without a completed request, or without any time from the server.

    Times that the server reports with each request come before the means of its counters.
    """
    total, from_sent = latency.e2e_latency_ns.mean, latency.e2e_latency_from_sent_ns.mean
    if total is None or from_sent is None:
        return None
    queue, prefill, decode = latency.server_queue_ns.mean, latency.server_prefill_ns.mean, latency.server_decode_ns.mean
    if queue is None and times:
        queue, prefill, decode = times.queue_mean_ns, times.prefill_mean_ns, times.decode_mean_ns
    front_in, front_out = (times.front_end_in_mean_ns, times.front_end_out_mean_ns) if times else (None, None)
    if queue is None and front_in is None:
        return None
    triton = batching.queue_mean_ns if batching else None
    client = round(total) - round(from_sent)
    parts = [None if part is None else round(part) for part in (front_in, triton, queue, prefill, decode, front_out)]
    return Waterfall(round(total), client, round(from_sent) - sum(part or 0 for part in parts), *parts)


TAIL = (0.985, 0.995)
"""The ranks of the requests around the P99 of latency, as shares of all completed ones."""
LEAST_FOR_TAIL = 1_000


@dataclass(frozen=True, slots=True)
class TailWaterfall:
    """Means over the `requests` completed requests whose latency is in the band around the P99, from `low_ns` to `high_ns`.

    Only parts that are known of each request: a part is None where the server reports no times with each request, and its time is then
    within `rest_ns`, as are Triton's queue and the front end, which are known as means over all requests alone.
    """

    requests: int
    low_ns: int
    high_ns: int
    total_ns: int
    client_ns: int
    engine_queue_ns: int | None
    prefill_ns: int | None
    decode_ns: int | None
    rest_ns: int


def tail_waterfall(done: Requests) -> TailWaterfall | None:
    """The parts of the latency of completed requests around the P99; None with fewer than LEAST_FOR_TAIL of them."""
    if len(done) < LEAST_FOR_TAIL:
        return None
    latencies = done.done_ns - done.due_ns
    first, last = (int(share * len(done)) for share in TAIL)
    chosen = np.zeros(len(done), np.bool_)
    chosen[np.argsort(latencies, kind="stable")[first:last]] = True
    near, spent = done.select(chosen), latencies[chosen]
    names = ("server.arrival_ns", "server.first_scheduled_ns", "server.first_token_ns", "server.last_token_ns")
    parts = [between(near, start, end) for start, end in pairwise(names)]
    queue, prefill, decode = (round(float(part.mean())) if len(part) == len(near) else None for part in parts)
    total, client = round(float(spent.mean())), round(float((near.sent_ns - near.due_ns).mean()))
    rest = total - client - sum(part or 0 for part in (queue, prefill, decode))
    return TailWaterfall(len(near), int(spent.min()), int(spent.max()), total, client, queue, prefill, decode, rest)
