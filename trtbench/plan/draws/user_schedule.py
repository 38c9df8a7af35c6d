"""When the users of a closed loop enter and leave."""

from __future__ import annotations

import numpy as np

from trtbench.plan.draws.arrivals import Offsets
from trtbench.plan.draws.rates import Floats
from trtbench.system.clock import NS_PER_S


def user_windows(first: int, last: int, steps: int | None, over_s: float) -> Offsets:
    """(enter, leave) of each user, nanoseconds from the start, -1: stays; shape [users, 2].

    From `first` users to `last` over `over_s`: in a line, where the k-th change comes when the line is at k - 1/2, so that the mean is
    that of the line; or on `steps` levels held equally long. The last to enter leave first.
    """
    changes_ns = np.rint(_changes_s(first, last, steps, over_s) * NS_PER_S).astype(np.int64)
    windows = np.full((max(first, last), 2), (0, -1), np.int64)
    if last > first:
        windows[first:, 0] = changes_ns
    else:
        windows[last:, 1] = changes_ns[::-1]
    return windows


def _changes_s(first: int, last: int, steps: int | None, over_s: float) -> Floats:
    """When the number of users changes by one, not decreasing; shape [abs(last - first)]."""
    changes = abs(last - first)
    if steps is None:
        return np.asarray((np.arange(changes) + 0.5) * (over_s / changes), np.float64)
    levels = np.floor(np.linspace(first, last, steps) + 0.5).astype(np.int64)
    return np.repeat(np.arange(1, steps, dtype=np.float64) * (over_s / steps), np.abs(np.diff(levels)))
