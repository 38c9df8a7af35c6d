"""The requests that a reload affected, the baseline before it, and the instant at which latency had recovered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trtbench.analysis.stage.latency import first_answers_ns, gaps_ended
from trtbench.analysis.stats.percentile import Distribution
from trtbench.rundir.ragged import Ints, Mask
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests, Texts

NS_PER_S = 1_000_000_000
WITHIN = 1.1
"""The load has recovered when the worst TTFT of a second is at most this many times the one before the reload."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Latency of requests that were completed away from any reload: due from `from_ns` on, first answered before `to_ns`.

    `ttft`: of an encoder, whose whole answer arrives at once, its E2E latency.
    """

    from_ns: int
    to_ns: int
    ttft_ns: Distribution
    itl_ns: Distribution


class Measured:
    """The requests of a load with reloads [n], in the order of due times. Windows are positions in it, ascending.

    `over_ns`: the end of a request, or its due time if it never ended. `answered_ns`: the arrival of its first answer, a token or a
    whole embedding; MISSING for a request that did not complete.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests, order = requests, np.argsort(requests.due_ns, kind="stable")
        self._order = order
        due, done, waits = requests.due_ns, requests.done_ns, first_answers_ns(requests)
        answered = np.where(requests.ended(Outcome.COMPLETED) & (waits != MISSING), due + waits, MISSING)
        self.due_ns, self.sent_ns, self.done_ns, self.answered_ns = (column[order] for column in (due, requests.sent_ns, done, answered))
        self.over_ns = np.where(self.done_ns == MISSING, self.due_ns, self.done_ns)
        outcomes, versions = requests.texts("outcome"), requests.texts("model_version")
        self.outcomes = Texts(outcomes.codes[order], outcomes.values)
        self.versions = Texts(versions.codes[order], versions.values)

    def __len__(self) -> int:
        return len(self.due_ns)

    @cached_property
    def was_answered(self) -> Mask:
        mask: Mask = self.answered_ns != MISSING
        return mask

    @cached_property
    def wait_ns(self) -> Ints:
        """The time from due to the first answer, for requests that have one."""
        return np.where(self.was_answered, self.answered_ns - self.due_ns, 0)

    @cached_property
    def responses(self) -> Ints:
        return self._requests.responses[self._order]

    def ended(self, *outcomes: Outcome) -> Mask:
        return np.isin(self.outcomes.codes, [i for i, value in enumerate(self.outcomes.values) if value in outcomes])

    def failed(self, at: Ints) -> dict[str, int]:
        """The number of requests that did not complete, by outcome."""
        counts = np.bincount(self.outcomes.codes[at], minlength=len(self.outcomes.values)).tolist()
        named = zip(self.outcomes.values, counts, strict=True)
        return {value: count for value, count in sorted(named) if count and value != Outcome.COMPLETED.value}

    def gaps(self, start_ns: int, end_ns: int, at: Ints | None = None) -> tuple[Ints, Ints]:
        """(Ends, lengths) of the gaps between token responses of completed requests that ended at start < time <= end; `at`: the
        positions of these requests.
        """
        chosen = self._requests.ended(Outcome.COMPLETED)
        if at is not None:
            among = np.zeros(len(self), np.bool_)
            among[self._order[at]] = True
            chosen &= among
        return gaps_ended(self._requests.select(chosen), start_ns, end_ns)


def baseline(measured: Measured, from_ns: int, to_ns: int) -> Baseline | None:
    """The baseline between two instants, or None if no undisturbed request completed in that time."""
    done = undisturbed(measured, from_ns, to_ns)
    if not len(done):
        return None
    gaps = measured.gaps(from_ns, to_ns, done)[1]
    return Baseline(from_ns, to_ns, Distribution.of(measured.wait_ns[done]), Distribution.of(gaps))


def undisturbed(measured: Measured, from_ns: int, to_ns: int) -> Ints:
    """The requests that were due and first answered in that time."""
    first, end = np.searchsorted(measured.due_ns, [from_ns, to_ns], "left")
    at = np.arange(first, end)
    return at[measured.was_answered[at] & (measured.answered_ns[at] < to_ns)]


def affected(measured: Measured, start_ns: int, end_ns: int) -> Ints:
    """The completed requests that were due in that time, or waited for their first answer when it began."""
    at = disturbed(measured, start_ns, end_ns)
    return at[measured.was_answered[at] & (measured.answered_ns[at] >= start_ns)]


def disturbed(measured: Measured, start_ns: int, end_ns: int) -> Ints:
    """The requests due before the end that had not ended when the reload began."""
    return np.flatnonzero((measured.due_ns < end_ns) & (measured.over_ns >= start_ns))


def says_little(measured: Measured, window: Ints) -> bool:
    """Whether over 1 % of the requests were lost. The P99 of all is then unbounded, and that of the others does not describe the reload."""
    sent = window[~measured.ended(Outcome.NEVER_SENT, Outcome.CANCELLED)[window]]
    return 100 * int((~measured.was_answered[sent]).sum()) > len(sent)


def worst(of: Distribution, beside: Distribution) -> float | None:
    """P99 if both have one, otherwise the maximum."""
    return of.p99 if of.p99 is not None and beside.p99 is not None else of.max


def recovery_ns(measured: Measured, before: Baseline | None, start_ns: int, finished_ns: int | None, until_ns: int) -> int | None:
    """The time from the start to the first instant after the reload that a whole good second follows; None if there is none before
    `until_ns`.

    A good second has a request due in it (otherwise it extends to the next one), and the P99 of their TTFTs by nearest rank, which is
    the largest for fewer than 100, is at most WITHIN times the P99 before, or the maximum before if there is no P99. A request that did
    not complete counts as infinite.
    """
    if before is None or finished_ns is None or before.ttft_ns.max is None:
        return None
    limit_ns = WITHIN * (before.ttft_ns.p99 if before.ttft_ns.p99 is not None else before.ttft_ns.max)
    begin, end = np.searchsorted(measured.due_ns, [finished_ns, until_ns], "left")
    due = measured.due_ns[begin:end]
    bad = ~(measured.was_answered[begin:end] & (measured.wait_ns[begin:end] <= limit_ns))
    counted = np.concatenate([[0], np.cumsum(bad)])
    at = np.concatenate([[finished_ns], due[bad] + 1])
    first = np.searchsorted(due, at, "left")
    last = np.maximum(np.searchsorted(due, at + NS_PER_S, "left"), first + 1)
    inside = (at + NS_PER_S <= until_ns) & (first < len(due))
    good = inside & (100 * (counted[np.minimum(last, len(due))] - counted[np.minimum(first, len(due))]) <= last - first)
    return int(at[good][0]) - start_ns if good.any() else None
