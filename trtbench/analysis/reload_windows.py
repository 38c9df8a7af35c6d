"""Which requests a reload disturbed, which were calm before it, and when the calm came back."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from trtbench.analysis.latency import first_answer_ns
from trtbench.analysis.percentile import Distribution
from trtbench.records import Outcome, RequestRecord

NS_PER_S = 1_000_000_000
WITHIN = 1.1
"""Recovered: the worst TTFT of a second is at most so many times what it was before."""


@dataclass(frozen=True, slots=True)
class Calm:
    """Latency of the requests completed without a reload near: due from `from_ns` on, answered first before `to_ns`.

    `ttft`: of an encoder, whose whole answer comes at once, its E2E latency.
    """

    from_ns: int
    to_ns: int
    ttft_ns: Distribution
    itl_ns: Distribution


def calm(measured: Sequence[RequestRecord], from_ns: int, to_ns: int) -> Calm | None:
    """None when no request completed in that time."""
    done = undisturbed(measured, from_ns, to_ns)
    return Calm(from_ns, to_ns, Distribution.of(map(wait_ns, done)), Distribution.of(gaps_inside(done, from_ns, to_ns))) if done else None


def answered_ns(request: RequestRecord) -> int | None:
    """When its first answer came, a token or a whole embedding; None of what did not complete."""
    wait = first_answer_ns(request) if request.outcome is Outcome.COMPLETED else None
    return None if wait is None else request.due_ns + wait


def wait_ns(answered: RequestRecord) -> int:
    """From due to first answer, of a request that has one."""
    return (answered_ns(answered) or answered.due_ns) - answered.due_ns


def undisturbed(measured: Sequence[RequestRecord], from_ns: int, to_ns: int) -> list[RequestRecord]:
    """Those due and first answered in that time. `measured` is in the order of being due."""
    first, end = (bisect_left(measured, at, key=lambda r: r.due_ns) for at in (from_ns, to_ns))
    return [r for r in measured[first:end] if (at := answered_ns(r)) is not None and at < to_ns]


def met(measured: Sequence[RequestRecord], start_ns: int, end_ns: int) -> list[RequestRecord]:
    """The completed ones due in that time, or waiting for their first answer when it began."""
    return [r for r in disturbed(measured, start_ns, end_ns) if (at := answered_ns(r)) is not None and at >= start_ns]


def gaps_inside(requests: Iterable[RequestRecord], start_ns: int, end_ns: int) -> list[int]:
    """Gaps between token responses of completed requests that ended at start < time <= end."""
    return [
        later - earlier
        for r in requests
        if r.outcome is Outcome.COMPLETED
        for earlier, later in pairwise(r.token_ns)
        if start_ns < later <= end_ns
    ]


def disturbed(measured: Sequence[RequestRecord], start_ns: int, end_ns: int) -> list[RequestRecord]:
    """Due before the end, and not over when the reload began."""
    return [r for r in measured if r.due_ns < end_ns and (r.due_ns if r.done_ns is None else r.done_ns) >= start_ns]


def says_little(hit: Sequence[RequestRecord]) -> bool:
    """Over 1 % of them were lost: the P99 of all has no end, and that of the rest is no measure of what they met."""
    sent = [r for r in hit if r.outcome not in (Outcome.NEVER_SENT, Outcome.CANCELLED)]
    return 100 * sum(answered_ns(r) is None for r in sent) > len(sent)


def worst(of: Distribution, beside: Distribution) -> float | None:
    """P99 where both have one, else the maximum."""
    return of.p99 if of.p99 is not None and beside.p99 is not None else of.max


def recovery_ns(
    measured: Sequence[RequestRecord], before: Calm | None, start_ns: int, finished_ns: int | None, until_ns: int
) -> int | None:
    """From the start to the first instant after the reload that a whole good second follows; None when none does before `until_ns`.

    A good second has a request due in it (else it lasts until the next that is) and the P99 of their TTFTs by nearest rank, which for
    under 100 is the largest, is at most WITHIN times the P99 before, or the maximum where there is no P99. What did not complete
    counts as endless.
    """
    if before is None or finished_ns is None or before.ttft_ns.max is None:
        return None
    limit_ns = WITHIN * (before.ttft_ns.p99 if before.ttft_ns.p99 is not None else before.ttft_ns.max)
    due = [r for r in measured if finished_ns <= r.due_ns < until_ns]
    instants = [r.due_ns for r in due]
    bad = [not _good(r, limit_ns) for r in due]
    for at_ns in [finished_ns, *(instant + 1 for instant, is_bad in zip(instants, bad, strict=True) if is_bad)]:
        first = bisect_left(instants, at_ns)
        last = max(bisect_left(instants, at_ns + NS_PER_S), first + 1)
        if at_ns + NS_PER_S <= until_ns and first < len(due) and 100 * sum(bad[first:last]) <= last - first:
            return at_ns - start_ns
    return None


def _good(request: RequestRecord, limit_ns: float) -> bool:
    at = answered_ns(request)
    return at is not None and at - request.due_ns <= limit_ns
