"""Drawing lengths from their laws: pure arithmetic on a generator of random numbers. Longer draws begin like shorter ones."""

from __future__ import annotations

import numpy as np

from trtbench.scenario.workload.lengths import Empirical, Lognormal, Normal, Range


def draw_lengths(law: Range | Normal | Lognormal | Empirical, count: int, random: np.random.Generator) -> list[int]:
    """`count` lengths, each within the law's bounds."""
    if isinstance(law, Range):
        drawn: list[int] = random.integers(law.min, law.max + 1, size=count).tolist()
        return drawn
    if isinstance(law, Empirical):
        chosen: list[int] = random.choice(np.array(law.values), size=count, p=law.shares).tolist()
        return chosen
    return law.lengths_at(random.random(count).tolist())
