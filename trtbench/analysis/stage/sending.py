"""The schedule beside what the load generator made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trtbench.analysis.stats.percentile import PERMILLES, nearest_rank
from trtbench.rundir import MISSING, Ints, Requests


@dataclass(frozen=True, slots=True)
class Sending:
    """Over the requests of one stage that were sent, at their first attempt: a retry is late by design."""

    count: int
    lag_p99_ns: float | None  # whatever the count, of under 100 the worst: a bound to judge by, not a figure to print
    rate_ratio: float | None  # requests a second sent / due; None for a closed loop, and with fewer than two instants


def sending(requests: Requests, open_loop: bool) -> Sending:
    """The sending of one stage's measured requests."""
    lags = np.sort(send_lags_ns(requests))
    return Sending(
        count=len(lags),
        lag_p99_ns=nearest_rank(lags, PERMILLES["p99"]) if len(lags) else None,
        rate_ratio=_rate_ratio(requests) if open_loop else None,
    )


def send_lags_ns(requests: Requests) -> Ints:
    """sent - due of every request that was sent once, whatever became of it."""
    once = _sent_once(requests)
    return once.sent_ns - once.due_ns


def _rate_ratio(requests: Requests) -> float | None:
    """Both rates are (n - 1) / (last - first) over the same requests, so their ratio is that of the two spans."""
    once = _sent_once(requests)
    if len(once) < 2 or not np.ptp(once.sent_ns):
        return None
    return int(np.ptp(once.due_ns)) / int(np.ptp(once.sent_ns))


def _sent_once(requests: Requests) -> Requests:
    return requests.select((requests.sent_ns != MISSING) & (requests.attempts <= 1))
