"""Limits on the latencies of one request, judged from its record while the load runs. The analysis has the same rule for columns
(`keeps` in analysis/stage/throughput.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import sub
from typing import Literal

from trtbench.rundir.records import Outcome, RequestRecord

LatencyName = Literal["ttft", "itl", "tpot", "e2e"]
INCOMPLETE = -1
"""The bits of a request that did not complete: all of them, so it breaks every limit."""
FinishedRequest = tuple[int, int, int]
"""(Due, done, `broken_limits`) of a request that is over; instants in ns."""


@dataclass(frozen=True, slots=True)
class LatencyLimit:
    """The largest latency that a request may have; of ITL, the largest gap between two responses with tokens."""

    latency: LatencyName
    limit_ns: float


def broken_limits(record: RequestRecord, limits: Sequence[LatencyLimit]) -> int:
    """A number whose bit i is set if the request breaks limit i; INCOMPLETE if it did not complete.

    A figure that does not exist meets its limit, except the TTFT of a request that asked for output.
    """
    if record.outcome is not Outcome.COMPLETED or record.done_ns is None:
        return INCOMPLETE
    return sum(1 << place for place, limit in enumerate(limits) if _latency_ns(record, limit.latency) > limit.limit_ns)


def _latency_ns(record: RequestRecord, latency: LatencyName) -> float:
    """The latency in ns; 0 if the request has none, infinite for a TTFT that never came."""
    arrivals = record.token_ns
    if latency == "e2e":
        return (record.done_ns or 0) - record.due_ns
    if latency == "ttft":
        return arrivals[0] - record.due_ns if arrivals else float("inf") if record.asked_output_tokens else 0
    if len(arrivals) < 2:
        return 0
    if latency == "itl":
        return float(max(map(sub, arrivals[1:], arrivals)))
    tokens = record.output_tokens
    return (arrivals[-1] - arrivals[0]) / (tokens - 1) if tokens > 1 else 0
