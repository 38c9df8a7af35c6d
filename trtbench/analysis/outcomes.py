"""What became of every planned request: planned = completed + failed + cancelled + timed out + never sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trtbench.records import Outcome, RequestRecord

_MESSAGE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Conservation:
    """The equation of one stage. `unrecorded` requests were planned and left no record: the run was killed over them.

    `failed_by_class` adds up to `failed`; `messages` holds the commonest error text of each class.
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

    @property
    def holds(self) -> bool:
        """True when every planned request left exactly one record."""
        return self.unrecorded == 0

    @property
    def error_ratio(self) -> float | None:
        """1 - completed / planned."""
        return 1 - self.completed / self.planned if self.planned else None


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
    )


def _messages(requests: Sequence[RequestRecord]) -> dict[str, str]:
    texts: dict[str, Counter[str]] = {}
    for request in requests:
        if request.error:
            texts.setdefault(request.outcome.value, Counter())[request.error[:_MESSAGE_CHARACTERS]] += 1
    return {outcome: counter.most_common(1)[0][0] for outcome, counter in sorted(texts.items())}
