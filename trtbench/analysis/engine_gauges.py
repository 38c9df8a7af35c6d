"""Gauges of the engine: which a server shows, and which readings of them are old."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trtbench.analysis.window import increase
from trtbench.records import Outcome, RequestRecord
from trtbench.rundir import Samples

ENGINE_GAUGES = (
    "inflight_active_requests",
    "inflight_scheduled_requests",
    "inflight_waiting_requests",
    "inflight_context_requests",
    "inflight_context_tokens",
    "inflight_generation_requests",
    "inflight_paused_requests",
    "kv_blocks_used",
    "kv_blocks_free",
)

FAMILIES: Mapping[str, str] = {
    "inflight_scheduled_requests": "nv_trt_llm_request_metrics",
    "kv_blocks_used": "nv_trt_llm_kv_cache_block_metrics",
}
"""Series that figures of the engine need: the family that the C++ backend has them in."""


def missing_families(samples: Samples) -> tuple[str, ...]:
    names = set(samples.names())
    return tuple(family for series, family in FAMILIES.items() if series not in names)


def tokens_beyond_ours(samples: Samples, requests: Sequence[RequestRecord], margin_ns: int) -> int | None:
    """Output tokens that the server counted over the whole run, less those that arrived: 0 where both counted the same.

    The C++ backend counts an echoed prompt as output. None without its counter, without readings on both sides of the load (the last
    `margin_ns` after the last answer), or unless every request that was sent completed: what is counted of others is not known.
    """
    sent = [r for r in requests if r.sent_ns is not None]
    if not sent or any(r.outcome is not Outcome.COMPLETED or not r.counts_tokens or r.attempts > 1 for r in sent):
        return None
    series = samples.series("engine_output_tokens")
    start_ns, end_ns = min(r.sent_ns or 0 for r in sent), max(r.done_ns or 0 for r in sent) + margin_ns
    if not len(series[0]) or series[0][-1] < end_ns:
        return None
    counted = increase(series, start_ns, end_ns)
    return None if counted is None else round(counted) - sum(r.output_tokens + r.echoed_tokens for r in sent)


def without_stale(samples: Samples, requests: Sequence[RequestRecord]) -> tuple[Samples, int]:
    """The samples less the engine's gauges of every page that was stale, and how many pages were.

    Stale: the iteration counter stands where the page before had it, and none of our requests was in flight from that page to this one.
    A step that takes longer than the interval leaves the counter standing too; its request is in flight. Without a counter none is
    known to be stale.
    """
    times, counter = samples.series("engine_iterations")
    if len(times) < 2:
        return samples, 0
    sent = np.sort(np.array([r.sent_ns for r in requests if r.sent_ns is not None], np.int64))
    done = np.sort(np.array([r.done_ns for r in requests if r.sent_ns is not None and r.done_ns is not None], np.int64))
    in_flight = np.searchsorted(sent, times[1:], "right") - np.searchsorted(done, times[:-1], "left")
    stale = times[1:][(np.diff(counter) == 0) & (in_flight == 0)]
    return samples.without(ENGINE_GAUGES, stale), len(stale)
