"""How long users pause between requests."""

from __future__ import annotations

import numpy as np

from trtbench.plan.draws.arrivals import Offsets
from trtbench.scenario.workload.think_time import Think
from trtbench.system.clock import NS_PER_S


def think_ns(think: Think, count: int, random: np.random.Generator) -> Offsets:
    """So many pauses, nanoseconds, shape [count]; more of them begin like fewer."""
    seconds = np.full(count, think.mean) if think.distribution == "fixed" else random.exponential(think.mean, count)
    return np.rint(seconds * NS_PER_S).astype(np.int64)
