"""The level of load that a closed loop reached, beside the one that was asked."""

from __future__ import annotations

import numpy as np

from trtbench.rundir import MISSING, Requests

LEVEL_KEPT_RATIO = 0.8
"""Users in flight over users asked. Below this the figures are those of a smaller load. The client's own time between an answer and its
next request is in it too, which beside answers of a few milliseconds is some per cent."""


def users_reached(requests: Requests, asked: int) -> float | None:
    """Mean number of requests in flight once every user could have sent its first request, until the last request is sent.

    Of all requests of a stage that were sent. A closed loop of `asked` users that do not
    think has exactly `asked` requests in flight in that time; ramp-up and drain are left out. With no more requests than users that
    time does not exist, and it is the most that were in flight at once. None without requests.
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
