"""What became of every planned request: planned = completed + failed + cancelled + timed out + never sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trtbench.analysis.error_shapes import commonest
from trtbench.records import Outcome, RequestRecord

_MESSAGE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Conservation:
    """The equation of one stage. `unrecorded` requests were planned and left no record: the run was killed over them.

    Some of the `cancelled` were so as planned: their user goes away, and they are no errors. `retries` are sendings beyond each
    request's first, `completed_by_retry` the requests that would have failed without. `failed_by_class` adds up to `failed`;
    `messages` holds the commonest error text of each class, with "…" for ids and numbers that differ.
    """

    planned: int
    completed: int
    failed: int
    cancelled: int
    timed_out: int
    never_sent: int
    unrecorded: int
    failed_by_class: dict[str, int]
    messages: dict[str, str]
    cancelled_as_planned: int
    retries: int
    completed_by_retry: int

    @property
    def holds(self) -> bool:
        """True when every planned request left exactly one record."""
        return self.unrecorded == 0

    @property
    def error_ratio(self) -> float | None:
        """1 - (completed + cancelled as planned) / planned."""
        return 1 - (self.completed + self.cancelled_as_planned) / self.planned if self.planned else None


def conservation(requests: Sequence[RequestRecord], planned: int) -> Conservation:
    """Count one stage's measured requests against what was planned."""
    counts = Counter(request.outcome for request in requests)
    failed = {outcome.value: n for outcome, n in sorted(counts.items()) if outcome.is_failure}
    return Conservation(
        planned=planned,
        completed=counts[Outcome.COMPLETED],
        failed=sum(failed.values()),
        cancelled=counts[Outcome.CANCELLED],
        timed_out=counts[Outcome.TIMEOUT],
        never_sent=counts[Outcome.NEVER_SENT],
        unrecorded=planned - len(requests),
        failed_by_class=failed,
        messages=_messages(requests),
        cancelled_as_planned=sum(map(is_cancelled_as_planned, requests)),
        retries=sum(max(request.attempts - 1, 0) for request in requests),
        completed_by_retry=sum(request.attempts > 1 and request.outcome is Outcome.COMPLETED for request in requests),
    )


def is_cancelled_as_planned(request: RequestRecord) -> bool:
    """A stop that came before the plan's own cancellation is counted as the plan's: the user was to go away in any case."""
    return request.planned_cancel and request.outcome is Outcome.CANCELLED


def _messages(requests: Sequence[RequestRecord]) -> dict[str, str]:
    texts: dict[str, Counter[str]] = {}
    for request in requests:
        if request.error:
            texts.setdefault(request.outcome.value, Counter())[request.error[:_MESSAGE_CHARACTERS]] += 1
    return {outcome: commonest(counter.items()) for outcome, counter in sorted(texts.items())}
