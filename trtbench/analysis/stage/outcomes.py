"""The outcome of every planned request: planned = completed + failed + cancelled + timed out + never sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from trtbench.rundir.ragged import Mask
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import Requests

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_WORD = r"(?<![0-9a-z])(?!0x)(?=[a-z]*\d)[0-9a-z]{8,}"
_VALUE = re.compile(rf"({_UUID}|{_WORD}|(?=[a-f]*\d)[0-9a-f]{{6,}}|\d+)", re.IGNORECASE)
"""Matches what differs between equal errors: a UUID, a long word or a hexadecimal id with a digit in it, a number."""
_DIFFERS = "…"


@dataclass(slots=True)
class _Shape:
    """Messages that are equal except for their values: their number, the values of the first, and the positions at which another one
    differs.
    """

    count: int
    values: list[str]
    differing: set[int] = field(default_factory=set)


def commonest(messages: Iterable[tuple[str, int]]) -> str:
    """The most frequent message of pairs (message, count), with "…" for values in it that differ; "" without messages."""
    shapes: dict[tuple[str, ...], _Shape] = {}
    for message, count in messages:
        parts = _VALUE.split(message)
        literals, values = tuple(parts[::2]), parts[1::2]
        shape = shapes.setdefault(literals, _Shape(0, values))
        shape.count += count
        shape.differing.update(place for place, value in enumerate(values) if value != shape.values[place])
    if not shapes:
        return ""
    literals, shape = max(shapes.items(), key=lambda item: item[1].count)
    shown = [_DIFFERS if place in shape.differing else value for place, value in enumerate(shape.values)]
    return "".join(literal + value for literal, value in zip(literals, [*shown, ""], strict=True))


_MESSAGE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Conservation:
    """The conservation of requests in one stage. `unrecorded` requests were planned and left no record, because the run was killed.

    `cancelled` includes requests that the plan cancels, which are no errors. `retries` are attempts after the first one of each request,
    and `completed_by_retry` counts the requests that would have failed without retries. The values of `failed_by_class` add up to `failed`;
    `messages` has the most frequent error text of each class, with "…" for ids and numbers that differ.
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
        """Whether every planned request left exactly one record."""
        return self.unrecorded == 0

    @property
    def error_ratio(self) -> float | None:
        """1 - (completed + cancelled by the plan) / planned."""
        return 1 - (self.completed + self.cancelled_as_planned) / self.planned if self.planned else None


def conservation(requests: Requests, planned: int) -> Conservation:
    """Compare one stage's measured requests with the planned number."""
    outcomes = requests.texts("outcome")
    numbers = np.bincount(outcomes.codes, minlength=len(outcomes.values)).tolist()
    counts = {Outcome(value): number for value, number in zip(outcomes.values, numbers, strict=True) if number}
    failed = {outcome.value: n for outcome, n in sorted(counts.items()) if outcome.is_failure}
    attempts = requests.attempts
    return Conservation(
        planned=planned,
        completed=counts.get(Outcome.COMPLETED, 0),
        failed=sum(failed.values()),
        cancelled=counts.get(Outcome.CANCELLED, 0),
        timed_out=counts.get(Outcome.TIMEOUT, 0),
        never_sent=counts.get(Outcome.NEVER_SENT, 0),
        unrecorded=planned - len(requests),
        failed_by_class=failed,
        messages=_messages(requests),
        cancelled_as_planned=int(cancelled_as_planned(requests).sum()),
        retries=int(np.maximum(attempts - 1, 0).sum()),
        completed_by_retry=int(((attempts > 1) & requests.ended(Outcome.COMPLETED)).sum()),
    )


def cancelled_as_planned(requests: Requests) -> Mask:
    """[n] Whether the plan cancelled the request. A stop that came before the planned cancellation counts as planned, because the user
    would have left anyway.
    """
    return requests.planned_cancel & requests.ended(Outcome.CANCELLED)


def _messages(requests: Requests) -> dict[str, str]:
    """The most frequent message of each outcome; errors with similar beginnings are merged, in order of appearance."""
    outcomes, errors = requests.texts("outcome"), requests.texts("error")
    shown = [text[:_MESSAGE_CHARACTERS] for text in errors.values]
    number = {text: i for i, text in enumerate(dict.fromkeys(shown))}
    texts = list(number)
    alike = np.array([number[text] for text in shown], np.int64)[errors.codes]
    found = {}
    for outcome in np.unique(outcomes.codes).tolist():
        values, firsts, counts = np.unique(alike[outcomes.codes == outcome], return_index=True, return_counts=True)
        messages = [(texts[values[i]], int(counts[i])) for i in np.argsort(firsts) if texts[values[i]]]
        if messages:
            found[outcomes.values[outcome]] = commonest(messages)
    return dict(sorted(found.items()))
