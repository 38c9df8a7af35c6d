"""Figures that the engine reports itself: gauges on the metrics page, and counts in each response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trtbench.analysis.stats.window import increase
from trtbench.rundir.ragged import Ints
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests
from trtbench.rundir.samples import Samples
from trtbench.rundir.series import SeriesName

ENGINE_GAUGES: tuple[SeriesName, ...] = (
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

FAMILIES: Mapping[SeriesName, str] = {
    "inflight_scheduled_requests": "nv_trt_llm_request_metrics",
    "kv_blocks_used": "nv_trt_llm_kv_cache_block_metrics",
}
"""Names of the series from which figures of the engine are computed, as the C++ backend has them."""


def missing_families(samples: Samples) -> tuple[str, ...]:
    names = set(samples.names())
    return tuple(family for series, family in FAMILIES.items() if series not in names)


def tokens_beyond_ours(samples: Samples, requests: Requests, margin_ns: int) -> int | None:
    """Output tokens that the server counted over the whole run minus the tokens that arrived; 0 if both counts are equal.

    The C++ backend counts an echoed prompt as output. The result is None without the server's counter, without readings before and after
    the load (within `margin_ns` after the last answer), or if a request that was sent did not complete, because the server's count of such
    a request is unknown.
    """
    sent = requests.select(requests.sent_ns != MISSING)
    known = sent.ended(Outcome.COMPLETED) & sent.counts_tokens & (sent.attempts <= 1)
    if not len(sent) or not known.all():
        return None
    series = samples.series("engine_output_tokens")
    start_ns, end_ns = int(sent.sent_ns.min()), max(0, int(sent.done_ns.max())) + margin_ns
    if not len(series[0]) or series[0][-1] < end_ns:
        return None
    counted = increase(series, start_ns, end_ns)
    return None if counted is None else round(counted) - int((sent.output_tokens + sent.echoed_tokens).sum())


def without_stale(samples: Samples, requests: Requests) -> tuple[Samples, int]:
    """The samples without the engine's gauges of stale pages, and the number of stale pages.

    A page is stale if its iteration counter equals that of the previous page and no request was in flight between the two. The counter also
    stays equal during a step that takes longer than the interval, but then a request is in flight. Without a counter no page is known to be
    stale.
    """
    times, counter = samples.series("engine_iterations")
    if len(times) < 2:
        return samples, 0
    sent, done = sent_and_done_ns(requests)
    in_flight = np.searchsorted(sent, times[1:], "right") - np.searchsorted(done, times[:-1], "left")
    stale = times[1:][(np.diff(counter) == 0) & (in_flight == 0)]
    return samples.without(ENGINE_GAUGES, stale), len(stale)


def sent_and_done_ns(requests: Requests) -> tuple[Ints, Ints]:
    """(Sending times, end times) of the requests that were sent, each array sorted."""
    sent, done = requests.sent_ns, requests.done_ns
    was_sent = sent != MISSING
    return np.sort(sent[was_sent]), np.sort(done[was_sent & (done != MISSING)])


@dataclass(frozen=True, slots=True)
class ReuseByRequest:
    """KV block reuse of `requests` requests, those whose blocks are reported. `hit_ratio` is reused / (reused + other), or None if the
    engine counted no block.

    `other_blocks` are prompt blocks that were not found in the cache: the missed ones if every request reports them, otherwise the
    allocated ones (`basis`). A block that was found in part and copied, or that was brought back from host memory, also counts as
    allocated, so the ratio by allocated blocks is never above the ratio by missed blocks (docs/metrics.md).
    """

    requests: int
    reused_blocks: int
    other_blocks: int
    basis: Literal["missed", "allocated"]
    hit_ratio: float | None


@dataclass(frozen=True, slots=True)
class DraftsByRequest:
    """Speculative decoding: `requests` requests had draft tokens, and `acceptance_ratio` is accepted / proposed over all of them."""

    requests: int
    draft_tokens: int
    accepted_tokens: int
    acceptance_ratio: float


def reuse_by_request(requests: Requests) -> ReuseByRequest | None:
    """KV block reuse as the requests report it, or None if no request reports both reused and other blocks."""
    reused, missed, allocated = (requests.column(f"engine.kv_{name}_blocks") for name in ("reused", "missed", "allocated"))
    with_missed, with_allocated = ((reused != MISSING) & (others != MISSING) for others in (missed, allocated))
    if with_missed.any() and with_missed.sum() >= with_allocated.sum():
        return _reuse(reused[with_missed], missed[with_missed], "missed")
    return _reuse(reused[with_allocated], allocated[with_allocated], "allocated") if with_allocated.any() else None


def drafts_by_request(requests: Requests) -> DraftsByRequest | None:
    """Draft tokens and their acceptance, or None if no request had a draft token: an engine without speculative decoding reports zeros."""
    drafts, accepted = (requests.column(f"engine.{name}draft_tokens") for name in ("", "accepted_"))
    drafted = (drafts != MISSING) & (drafts != 0) & (accepted != MISSING)
    if not drafted.any():
        return None
    proposed, taken = int(drafts[drafted].sum()), int(accepted[drafted].sum())
    return DraftsByRequest(int(drafted.sum()), proposed, taken, taken / proposed)


def _reuse(reused_blocks: Ints, other_blocks: Ints, basis: Literal["missed", "allocated"]) -> ReuseByRequest:
    reused, other = int(reused_blocks.sum()), int(other_blocks.sum())
    return ReuseByRequest(len(reused_blocks), reused, other, basis, reused / (reused + other) if reused + other else None)
