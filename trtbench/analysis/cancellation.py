"""What cancelled requests leave behind: whether the engine lets go of them, and what they cost those that stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trtbench.analysis.facts import DeploymentFacts
from trtbench.analysis.kv_cache import Residency, RunningSum
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
    `blocks_back`: cancels after which a reading without a request in prefill showed no block beyond, with the times until it, as
    above upper bounds; so they are the coarser the fewer such readings there are.
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
    blocks_back: int | None = None
    blocks_back_median_ns: float | None = None
    blocks_back_max_ns: int | None = None

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
    until_ns = max(ends) + SETTLE_NS + _LOOK_NS
    account = None
    if not facts.may_cache_prefixes:
        account = _account(of_deployment, residency, samples, (min(ends), until_ns), interval_ns, facts.provider == "openvino")
    back = account.back_ns(ends, interval_ns) if account else []
    return Cancellation(
        stage=name,
        cancelled=len(cancelled),
        survivors=len(survivors),
        survivor_tokens_per_s=tokens / window.seconds if window and window.seconds > 0 and counted else None,
        wasted_tokens=sum(r.output_tokens for r in cancelled) if counted else None,
        let_go=None if known is None else len(known),
        let_go_max_ns=max(known) if known and len(known) == len(ends) else None,
        blocks_beyond=account.beyond(max(ends) + SETTLE_NS, until_ns) if account else None,
        let_go_median_ns=float(np.median(known)) if known else None,
        blocks_back=len(back) if account else None,
        blocks_back_median_ns=float(np.median(back)) if back else None,
        blocks_back_max_ns=max(back) if len(back) == len(ends) else None,
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


@dataclass(frozen=True, slots=True)
class _Account:
    """Of the readings [n] at which all requests' blocks are known: blocks in use, and the most that the requests in flight can hold.

    A gauge is up to an interval old, so no request may have been in prefill since, and who was resident then counts.
    """

    times_ns: npt.NDArray[np.int64]
    used: npt.NDArray[np.float64]
    most: npt.NDArray[np.int64]

    def beyond(self, from_ns: int, until_ns: int) -> int | None:
        """At the first of them in that time."""
        at = int(np.searchsorted(self.times_ns, from_ns, "left"))
        return max(0, int(self.used[at]) - int(self.most[at])) if at < len(self.times_ns) and self.times_ns[at] <= until_ns else None

    def back_ns(self, cancels_ns: Sequence[int], interval_ns: int) -> list[int]:
        """Times from cancels until one of them showed no block beyond; of those that have one."""
        clear = self.times_ns[self.used <= self.most]
        firsts = ((cancel_ns, int(np.searchsorted(clear, cancel_ns + interval_ns, "left"))) for cancel_ns in cancels_ns)
        return [int(clear[at]) - cancel_ns for cancel_ns, at in firsts if at < len(clear)]


def _account(
    requests: Sequence[RequestRecord], residency: Residency, samples: Samples, span_ns: tuple[int, int], interval_ns: int, idles: bool
) -> _Account | None:
    """In `span_ns`. `idles`: whether the gauge is fresh without any request; TensorRT-LLM's stands still while it idles."""
    times, used = samples.series("kv_blocks_used")
    block_tokens = samples.series("kv_block_tokens")[1]
    if not len(block_tokens) or block_tokens[-1] <= 0:
        return None
    chosen = (times >= span_ns[0]) & (times <= span_ns[1])
    times, used = times[chosen], used[chosen]
    held = RunningSum(step for request in requests for step in _most_blocks(request, interval_ns, int(block_tokens[-1])))
    most = held.at(times)
    known = ~residency.in_prefill(times, interval_ns) & ((most > 0) | idles)
    return _Account(times[known], used[known], most[known])


def _most_blocks(request: RequestRecord, interval_ns: int, block_tokens: int) -> list[tuple[int, int]]:
    """Changes of the most blocks that it can hold, from its first token until an interval after its end: a token may be made that has
    not arrived."""
    if not request.token_ns or request.done_ns is None:
        return []
    steps, held, made = [], 0, 0
    for at, count in zip(request.token_ns, request.token_counts, strict=True):
        made += count
        blocks = -(-(request.input_tokens + min(made + 1, request.asked_output_tokens)) // block_tokens)
        steps.append((at, blocks - held))
        held = blocks
    return [*steps, (request.done_ns + interval_ns, -held)]
