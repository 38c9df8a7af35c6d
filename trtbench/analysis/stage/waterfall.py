"""Where the mean latency of a stage is spent, from the instant at which a request is due to its last response."""

from __future__ import annotations

from dataclasses import dataclass

from trtbench.analysis.stage.batching import TritonBatching
from trtbench.analysis.stage.engine_times import EngineTimes
from trtbench.analysis.stage.latency import Latency


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
