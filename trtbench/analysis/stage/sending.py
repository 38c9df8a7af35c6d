"""Whether the load was sent as planned: lag and rate of sending, and the number of users in flight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trtbench.analysis.stats.percentile import PERMILLES, nearest_rank
from trtbench.rundir.ragged import Ints
from trtbench.rundir.requests import MISSING, Requests


@dataclass(frozen=True, slots=True)
class Sending:
    """The punctuality with which the requests of a stage were sent, counting first attempts only, because a retry is late by design."""

    count: int
    lag_p99_ns: float | None  # whatever the count, of under 100 the worst: a bound to judge by, not a figure to print
    rate_ratio: float | None  # requests a second sent / due; None for a closed loop, and with fewer than two instants
    waited: int = 0  # requests that had to wait for a place under max_in_flight
    wait_mean_ns: float = 0.0  # of those that waited, from the scheduled time
    wait_max_ns: int = 0


def sending(requests: Requests, open_loop: bool) -> Sending:
    """The punctuality of one stage's measured requests."""
    lags = np.sort(send_lags_ns(requests))
    waits = (requests.ready_ns - requests.due_ns)[requests.admitted_ns != MISSING]
    return Sending(
        count=len(lags),
        lag_p99_ns=nearest_rank(lags, PERMILLES["p99"]) if len(lags) else None,
        rate_ratio=_rate_ratio(requests) if open_loop else None,
        waited=len(waits),
        wait_mean_ns=float(waits.mean()) if len(waits) else 0.0,
        wait_max_ns=int(waits.max()) if len(waits) else 0,
    )


def send_lags_ns(requests: Requests) -> Ints:
    """Sent - due time of every request that was sent once, whatever its outcome, without a wait for a place under max_in_flight."""
    once = _sent_once(requests)
    return once.sent_ns - once.ready_ns


def _rate_ratio(requests: Requests) -> float | None:
    """Actual rate / planned rate. Both are (n - 1) / (last - first) of the same requests, so the ratio is that of the two spans."""
    once = _sent_once(requests)
    if len(once) < 2 or not np.ptp(once.sent_ns):
        return None
    return int(np.ptp(once.ready_ns)) / int(np.ptp(once.sent_ns))


def _sent_once(requests: Requests) -> Requests:
    return requests.select((requests.sent_ns != MISSING) & (requests.attempts <= 1))


LEVEL_KEPT_RATIO = 0.8
"""The least ratio of users in flight to requested users. Below it, the figures belong to a smaller load. The client's own time between an
answer and its next request lowers the ratio too, by a few per cent where answers take milliseconds.
"""


def users_reached(requests: Requests, asked: int) -> float | None:
    """Mean number of requests in flight in a stage, from the instant at which every user could have sent its first request until the last
    sending.

    A closed loop of `asked` users without think time has exactly `asked` requests in flight during that time; ramp-up and drain are
    excluded. If there are no more requests than users, that time does not exist, and the result is the highest number in flight at once.
    None without requests.
    """
    were_sent = requests.select(requests.sent_ns != MISSING)
    if not len(were_sent):
        return None
    sent = np.sort(were_sent.sent_ns)
    done = np.sort(np.where(were_sent.done_ns == MISSING, np.iinfo(np.int64).max, were_sent.done_ns))
    start, end = sent[min(asked, len(sent)) - 1], sent[-1]
    if end <= start:
        return float((np.arange(1, len(sent) + 1) - np.searchsorted(done, sent, side="right")).max())
    busy_ns = np.clip(done, start, end).sum(dtype=np.float64) - np.clip(sent, start, end).sum(dtype=np.float64)
    return float(busy_ns / (end - start))
