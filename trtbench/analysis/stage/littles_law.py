"""Little's law in a stage: the mean number of requests in the system = their rate x their mean time in it (Little, 1961).

Both sides come from the records. In a closed loop the left side is the number of users, and thinking is part of their time. The law holds
for every stable system, so where it does not hold, the mean latency is not that of the requests which filled the system.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from trtbench.analysis.stage.latency import NS_PER_S, Floats
from trtbench.analysis.stats.estimate import Estimate
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests

BATCHES = 10
LEAST_IN_BATCH = 10
OFF_RATIO = 0.05
"""The difference of both sides, as a share of the left one, from which it is said."""
_OTHER_ENDS_RATIO = 0.01

Why = Literal["", "failures", "growth", "idle", "unknown"]


@dataclass(frozen=True, slots=True)
class LittlesLaw:
    """`in_system`: the users of a closed loop, or the mean number of requests between due and done. `product`: completed requests per
    second x (mean latency + mean think time), as a mean over ten batches of the stage.

    `half_width`: of the 95 % interval around the difference, from the batches. `why`: the likely reason if the law does not hold.
    """

    in_system: float
    rate_per_s: float
    latency_ns: float
    think_ns: float
    product: float
    difference: float
    half_width: float
    why: Why = ""

    @property
    def holds(self) -> bool:
        return not self.why


def littles_law(requests: Requests, users: float | None, think_ns: float, backlog_grew: bool | None) -> LittlesLaw | None:
    """The law over the measured requests of a stage. `users`: of a closed loop, or None for an open loop.

    Ramp-up and drain are left out: the window begins when every user could have sent a request and ends with the last sending. None with
    fewer than LEAST_IN_BATCH completed requests in one of the BATCHES parts of the window.
    """
    sent = np.sort(requests.sent_ns[requests.sent_ns != MISSING])
    if len(sent) < BATCHES * LEAST_IN_BATCH:
        return None
    start = int(sent[min(round(users) if users else 1, len(sent)) - 1])
    edges: Floats = np.linspace(start, int(sent[-1]), BATCHES + 1, dtype=np.float64)
    done = requests.select(requests.ended(Outcome.COMPLETED) & (requests.done_ns != MISSING))
    batch = np.searchsorted(edges, done.done_ns, "left") - 1
    inside = (batch >= 0) & (batch < BATCHES)
    counts = np.bincount(batch[inside], minlength=BATCHES)
    if edges[-1] <= edges[0] or counts.min() < LEAST_IN_BATCH:
        return None
    latencies = (done.done_ns - done.due_ns)[inside]
    spent = np.bincount(batch[inside], latencies, BATCHES) + counts * think_ns
    length_ns = edges[1] - edges[0]
    products = spent / length_ns
    left = np.full(BATCHES, users) if users else _in_system(requests, edges)
    difference = Estimate.of((left - products).tolist())
    assert difference is not None and difference.half_width is not None
    in_system = float(left.mean())
    off = abs(difference.mean) > max(difference.half_width, OFF_RATIO * in_system)
    return LittlesLaw(
        in_system=in_system,
        rate_per_s=float(counts.sum()) * NS_PER_S / float(edges[-1] - edges[0]),
        latency_ns=float(latencies.mean()),
        think_ns=think_ns,
        product=float(products.mean()),
        difference=difference.mean,
        half_width=difference.half_width,
        why=_why(requests, users, backlog_grew) if off else "",
    )


def _in_system(requests: Requests, edges: Floats) -> Floats:
    """[BATCHES] The mean number of requests between due and done in each batch; one without an end stays to the last edge."""
    due, done = requests.due_ns, np.where(requests.done_ns == MISSING, np.int64(edges[-1]), requests.done_ns)
    within = [(np.clip(done, a, b) - np.clip(due, a, b)).sum(dtype=np.float64) for a, b in pairwise(edges)]
    mean: Floats = np.array(within) / np.diff(edges)
    return mean


def _why(requests: Requests, users: float | None, backlog_grew: bool | None) -> Why:
    """Requests that did not complete take time which no latency has; a queue that grows is not stable; users that wait for the client are
    in neither figure.
    """
    other = 1 - float(np.mean(requests.ended(Outcome.COMPLETED)))
    if other > _OTHER_ENDS_RATIO:
        return "failures"
    if users is None:
        return "growth" if backlog_grew else "unknown"
    return "idle"
