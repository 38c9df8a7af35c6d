"""What cancelled requests leave behind: whether the engine lets go of them, and what they cost those that stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.facts import DeploymentFacts
from trtbench.analysis.kv_cache import Residency
from trtbench.analysis.outcomes import is_cancelled_as_planned
from trtbench.analysis.throughput import measured_window
from trtbench.records import Outcome, RequestRecord
from trtbench.rundir import Samples

SETTLE_NS = 1_000_000_000
_LOOK_NS = 10_000_000_000
"""How much longer a reading is waited for in which the survivors' blocks are known."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """One stage with planned cancellations. `wasted_tokens` are those that cancelled requests had received.

    `let_go`: cancelled requests after which a reading showed no more active requests than the client had in flight, with the median of
    the times until such a reading, and the longest where every cancel has one. A reading is looked at from one sampling interval after
    the cancel on, for an earlier one may show what was before it; so a time is an upper bound, never under that interval.
    `blocks_beyond`: KV blocks in use 1 s after the stage's last cancel (or at the first reading within 10 s more with no request
    in prefill) beyond what the requests in flight account for. None where no such reading is, or blocks may be cached.
    """

    stage: str
    cancelled: int
    survivors: int
    survivor_tokens_per_s: float | None
    wasted_tokens: int | None  # as is the rate: None where nobody counts tokens, or none are asked for
    let_go: int | None
    let_go_max_ns: int | None
    blocks_beyond: int | None
    let_go_median_ns: float | None = None

    @property
    def keeps_blocks(self) -> bool:
        """Blocks beyond, though the requests were let go before, or never. Where that took longer, the reading came too early."""
        in_time = self.let_go_max_ns is not None and self.let_go_max_ns <= SETTLE_NS
        never = self.let_go is not None and self.let_go < self.cancelled
        return bool(self.blocks_beyond) and (in_time or never)


def cancellation(
    name: str,
    of_stage: Sequence[RequestRecord],
    of_deployment: Sequence[RequestRecord],
    residency: Residency,
    samples: Samples,
    interval_ns: int,
    duration_s: float | None,
    facts: DeploymentFacts,
) -> Cancellation | None:
    """None for a stage without requests that were cancelled as planned. `residency` is that of all the deployment's requests."""
    cancelled = [r for r in of_stage if is_cancelled_as_planned(r) and r.done_ns is not None]
    if not cancelled:
        return None
    survivors = [r for r in of_stage if r.outcome is Outcome.COMPLETED]
    window = measured_window(of_stage, duration_s)
    tokens = sum(n for r in survivors for at, n in zip(r.token_ns, r.token_counts, strict=True) if window and window.holds(at))
    counted = all(r.counts_tokens for r in of_stage) and any(r.asked_output_tokens for r in of_stage)
    ends = [r.done_ns for r in cancelled if r.done_ns is not None]
    waits = _let_go_ns(ends, of_deployment, samples, interval_ns)
    known = None if waits is None else [wait for wait in waits if wait is not None]
    return Cancellation(
        stage=name,
        cancelled=len(cancelled),
        survivors=len(survivors),
        survivor_tokens_per_s=tokens / window.seconds if window and window.seconds > 0 and counted else None,
        wasted_tokens=sum(r.output_tokens for r in cancelled) if counted else None,
        let_go=None if known is None else len(known),
        let_go_max_ns=max(known) if known and len(known) == len(ends) else None,
        blocks_beyond=None
        if facts.may_cache_prefixes
        else _blocks_beyond(max(ends), of_deployment, residency, samples, interval_ns, facts),
        let_go_median_ns=float(np.median(known)) if known else None,
    )


def _let_go_ns(cancels_ns: Sequence[int], requests: Sequence[RequestRecord], samples: Samples, interval_ns: int) -> list[int | None] | None:
    """For each cancel, the time to the first reading that shows no more active requests than are in flight; None without the gauge."""
    times, active = samples.series("inflight_active_requests")
    if not len(times):
        return None
    sent = np.sort(np.array([r.sent_ns for r in requests if r.sent_ns is not None], np.int64))
    done = np.sort(np.array([r.done_ns for r in requests if r.sent_ns is not None and r.done_ns is not None], np.int64))
    in_flight = np.searchsorted(sent, times, "right") - np.searchsorted(done, times, "right")
    calm = times[active <= in_flight]
    found: list[int | None] = []
    for cancel_ns in cancels_ns:
        at = int(np.searchsorted(calm, cancel_ns + interval_ns, "left"))
        found.append(int(calm[at]) - cancel_ns if at < len(calm) else None)
    return found


def _blocks_beyond(
    last_cancel_ns: int,
    requests: Sequence[RequestRecord],
    residency: Residency,
    samples: Samples,
    interval_ns: int,
    facts: DeploymentFacts,
) -> int | None:
    times, used = samples.series("kv_blocks_used")
    block_tokens = samples.series("kv_block_tokens")[1]
    if not len(block_tokens) or block_tokens[-1] <= 0:
        return None
    from_ns = last_cancel_ns + SETTLE_NS
    settled = (times >= from_ns) & (times <= from_ns + _LOOK_NS)
    for time_ns, blocks in zip(times[settled].tolist(), used[settled].tolist(), strict=True):
        # A gauge is up to an interval old: no request may have been in prefill since, and who was resident then counts.
        if residency.in_prefill(time_ns - interval_ns, time_ns):
            continue
        most = _most_blocks(time_ns, requests, interval_ns, int(block_tokens[-1]))
        if most or facts.provider == "openvino":  # TensorRT-LLM's gauges stand still while it idles
            return max(0, int(blocks) - most)
    return None


def _most_blocks(time_ns: int, requests: Sequence[RequestRecord], interval_ns: int, block_tokens: int) -> int:
    """The most that requests resident within the last interval can hold: a token may be made that has not arrived."""
    blocks = 0
    for request in requests:
        if request.token_ns and request.done_ns is not None and request.token_ns[0] <= time_ns and request.done_ns >= time_ns - interval_ns:
            made = sum(count for at, count in zip(request.token_ns, request.token_counts, strict=True) if at <= time_ns) + 1
            blocks += -(-(request.input_tokens + min(made, request.asked_output_tokens)) // block_tokens)
    return blocks
