"""How long users pause between requests."""

from __future__ import annotations

import numpy as np

from trtbench.clock import NS_PER_S
from trtbench.load.arrivals import Offsets
from trtbench.scenario import Think


def think_ns(think: Think, count: int, random: np.random.Generator) -> Offsets:
    """So many pauses, nanoseconds, shape [count]; more of them begin like fewer."""
    seconds = np.full(count, think.mean) if think.distribution == "fixed" else random.exponential(think.mean, count)
    return np.rint(seconds * NS_PER_S).astype(np.int64)
