"""The schedule beside what the load generator made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.percentile import PERMILLES, nearest_rank
from trtbench.records import RequestRecord


@dataclass(frozen=True, slots=True)
class Sending:
    """Over the requests of one stage that were sent, at their first attempt: a retry is late by design."""

    count: int
    lag_p99_ns: float | None  # whatever the count, of under 100 the worst: a bound to judge by, not a figure to print
    rate_ratio: float | None  # requests a second sent / due; None for a closed loop, and with fewer than two instants


def sending(requests: Sequence[RequestRecord], open_loop: bool) -> Sending:
    """The sending of one stage's measured requests."""
    lags = send_lags_ns(requests)
    return Sending(
        count=len(lags),
        lag_p99_ns=nearest_rank(np.sort(np.asarray(lags)), PERMILLES["p99"]) if lags else None,
        rate_ratio=_rate_ratio(requests) if open_loop else None,
    )


def send_lags_ns(requests: Sequence[RequestRecord]) -> list[int]:
    """sent - due of every request that was sent once, whatever became of it."""
    return [sent_ns - due_ns for due_ns, sent_ns in _sent_once(requests)]


def _rate_ratio(requests: Sequence[RequestRecord]) -> float | None:
    """Both rates are (n - 1) / (last - first) over the same requests, so their ratio is that of the two spans."""
    instants = _sent_once(requests)
    due, sent = [due_ns for due_ns, _ in instants], [sent_ns for _, sent_ns in instants]
    if len(instants) < 2 or max(sent) == min(sent):
        return None
    return (max(due) - min(due)) / (max(sent) - min(sent))


def _sent_once(requests: Sequence[RequestRecord]) -> list[tuple[int, int]]:
    return [(request.due_ns, request.sent_ns) for request in requests if request.sent_ns is not None and request.attempts <= 1]
