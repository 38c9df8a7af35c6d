"""The consequences of cancelled requests: whether the engine releases them, and what they cost the other requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trtbench.analysis.experiment_analysis import DeploymentRecords
from trtbench.analysis.facts import DeploymentFacts
from trtbench.analysis.found import Key
from trtbench.analysis.stage.engine_metrics import sent_and_done_ns
from trtbench.analysis.stage.kv_cache import Residency, SumAt
from trtbench.analysis.stage.outcomes import cancelled_as_planned
from trtbench.analysis.stage.throughput import measured_window, tokens_inside
from trtbench.rundir.ragged import Ints
from trtbench.rundir.requests import MISSING, Requests
from trtbench.rundir.samples import Samples

CANCELLATIONS: Key[tuple[Cancellation, ...]] = Key("cancellations")
SETTLE_NS = 1_000_000_000
_NS_PER_MS = 1_000_000
_LOOK_NS = 10_000_000_000
"""The additional time to wait for a reading at which the blocks of the surviving requests are known."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """One stage with planned cancellations. `wasted_tokens` are those that cancelled requests had received.

    `let_go`: cancelled requests after which a reading showed no more active requests than the client had in flight, with the median of
    the times until such a reading, and the longest if every cancellation has one. Readings count from one sampling interval after the
    cancellation on, because an earlier one may show the state before it. A time is therefore an upper bound and never below that
    interval. `blocks_beyond`: KV blocks in use 1 s after the stage's last cancellation (or at the first reading within 10 s more with no
    request in prefill) minus those that the requests in flight can hold. None if there is no such reading, or if blocks may be cached.
    `blocks_back`: cancellations after which a reading without a request in prefill showed no such block, with the times until it, which
    are upper bounds too; they are coarser the fewer such readings there are.
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
        """Whether blocks remain although the requests were released before, or never. If the release took longer, the reading came too
        early.
        """
        in_time = self.let_go_max_ns is not None and self.let_go_max_ns <= SETTLE_NS
        never = self.let_go is not None and self.let_go < self.cancelled
        return bool(self.blocks_beyond) and (in_time or never)


def cancellations(records: DeploymentRecords) -> tuple[Cancellation, ...]:
    requests, scenario = records.requests, records.scenario
    interval_ns = scenario.telemetry.interval_ms * _NS_PER_MS
    lengths_s = {stage.label: stage.duration_s for stage in scenario.load}
    found = (
        cancellation(
            name, requests.stage(name), requests, records.residency, records.samples, interval_ns, lengths_s.get(name), records.facts
        )
        for name in (stage.span.name for stage in records.stages)
    )
    return tuple(audit for audit in found if audit)


def cancellation(
    name: str,
    of_stage: Requests,
    of_deployment: Requests,
    residency: Residency,
    samples: Samples,
    interval_ns: int,
    duration_s: float | None,
    facts: DeploymentFacts,
) -> Cancellation | None:
    """The effect of a stage's planned cancellations, or None without any. `residency` is that of all requests of the deployment."""
    cancelled = of_stage.select(cancelled_as_planned(of_stage) & (of_stage.done_ns != MISSING))
    if not len(cancelled):
        return None
    survivors = of_stage.completed
    window = measured_window(of_stage, duration_s)
    tokens = tokens_inside(survivors, window) if window else 0
    counted = bool(of_stage.counts_tokens.all() and of_stage.asked_output_tokens.any())
    ends = cancelled.done_ns
    known = _let_go_ns(ends, of_deployment, samples, interval_ns)
    until_ns = int(ends.max()) + SETTLE_NS + _LOOK_NS
    account = None
    if not facts.may_cache_prefixes:
        at_rest = facts.traits.gauges_valid_at_rest
        account = _account(of_deployment, residency, samples, (int(ends.min()), until_ns), interval_ns, at_rest)
    back = account.back_ns(ends, interval_ns) if account else np.empty(0, np.int64)
    return Cancellation(
        stage=name,
        cancelled=len(cancelled),
        survivors=len(survivors),
        survivor_tokens_per_s=tokens / window.seconds if window and window.seconds > 0 and counted else None,
        wasted_tokens=int(cancelled.output_tokens.sum()) if counted else None,
        let_go=None if known is None else len(known),
        let_go_max_ns=int(known.max()) if known is not None and len(known) == len(ends) else None,
        blocks_beyond=account.beyond(int(ends.max()) + SETTLE_NS, until_ns) if account else None,
        let_go_median_ns=float(np.median(known)) if known is not None and len(known) else None,
        blocks_back=len(back) if account else None,
        blocks_back_median_ns=float(np.median(back)) if len(back) else None,
        blocks_back_max_ns=int(back.max()) if len(back) == len(ends) else None,
    )


def _let_go_ns(cancels_ns: Ints, requests: Requests, samples: Samples, interval_ns: int) -> Ints | None:
    """The time from each cancellation to the first reading with no more active requests than are in flight; None without the gauge.

    Cancellations without such a reading are left out.
    """
    times, active = samples.series("inflight_active_requests")
    if not len(times):
        return None
    sent, done = sent_and_done_ns(requests)
    in_flight = np.searchsorted(sent, times, "right") - np.searchsorted(done, times, "right")
    return _until(times[active <= in_flight], cancels_ns, interval_ns)


def _until(readings_ns: Ints, cancels_ns: Ints, interval_ns: int) -> Ints:
    """The time from each cancellation to the first of these readings at least an interval later. Cancellations without one are left out."""
    at = np.searchsorted(readings_ns, cancels_ns + interval_ns, "left")
    seen = at < len(readings_ns)
    waits: Ints = readings_ns[at[seen]] - cancels_ns[seen]
    return waits


@dataclass(frozen=True, slots=True)
class _Account:
    """The blocks in use, and the most that requests in flight can hold, at the readings [n] for which both are known.

    A gauge may be up to an interval old, so no request may have been in prefill since, and the requests that were resident then count.
    """

    times_ns: npt.NDArray[np.int64]
    used: npt.NDArray[np.float64]
    most: npt.NDArray[np.int64]

    def beyond(self, from_ns: int, until_ns: int) -> int | None:
        """The blocks beyond those of requests in flight, at the first reading in that time."""
        at = int(np.searchsorted(self.times_ns, from_ns, "left"))
        return max(0, int(self.used[at]) - int(self.most[at])) if at < len(self.times_ns) and self.times_ns[at] <= until_ns else None

    def back_ns(self, cancels_ns: Ints, interval_ns: int) -> Ints:
        """The times from cancellations until a reading showed no such block, for those that have one."""
        return _until(self.times_ns[self.used <= self.most], cancels_ns, interval_ns)


def _account(
    requests: Requests, residency: Residency, samples: Samples, span_ns: tuple[int, int], interval_ns: int, at_rest: bool
) -> _Account | None:
    """The blocks of the readings in `span_ns`. `at_rest` means that the gauge is also valid without any request in flight."""
    times, used = samples.series("kv_blocks_used")
    block_tokens = samples.series("kv_block_tokens")[1]
    if not len(block_tokens) or block_tokens[-1] <= 0:
        return None
    chosen = (times >= span_ns[0]) & (times <= span_ns[1])
    times, used = times[chosen], used[chosen]
    most = _most_blocks(requests, times, interval_ns, int(block_tokens[-1]))
    known = ~residency.in_prefill(times, interval_ns) & ((most > 0) | at_rest)
    return _Account(times[known], used[known], most[known])


def _most_blocks(requests: Requests, times: Ints, interval_ns: int, block_tokens: int) -> Ints:
    """The most blocks that the requests can hold at `times`, each from its first token until an interval after its end, because a token
    may exist that has not arrived.
    """
    total = SumAt(times)
    held = requests.select((requests.responses > 0) & (requests.done_ns != MISSING))
    for tokens in held.tokens():
        counts, rows = tokens.counts, tokens.counts.rows()
        running = np.cumsum(counts.values, dtype=np.int64)
        before = np.concatenate([[0], running])[counts.offsets[:-1]]
        made = np.minimum(running - before[rows] + 1, held.asked_output_tokens[tokens.at][rows])
        blocks = counts.with_values(-(-(held.input_tokens[tokens.at][rows] + made) // block_tokens))
        steps = np.diff(blocks.values, prepend=0)
        steps[blocks.offsets[:-1]] = blocks.values[blocks.offsets[:-1]]
        total.add(tokens.arrivals.values, steps)
        total.add(held.done_ns[tokens.at] + interval_ns, -blocks.lasts(0))
    return total.sums()
