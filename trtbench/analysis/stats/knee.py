"""The knee of throughput against load: where another user no longer pays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LEAST_LEVELS = 3
PAYING_ELASTICITY = 0.1
"""Below this, doubling the users brings less than 2**0.1 - 1 = 7 % more throughput."""


@dataclass(frozen=True, slots=True)
class Knee:
    """`level` is None when every step still paid. `elasticities[i]` belongs to the step from levels[i] to levels[i + 1]."""

    levels: tuple[float, ...]
    throughputs: tuple[float, ...]
    elasticities: tuple[float, ...]
    level: float | None
    throughput: float | None


def find_knee(points: Sequence[tuple[float, float]]) -> Knee | None:
    """From (level, throughput) pairs of one engine; None with fewer than three levels with throughput.

    A step's elasticity is ln(T2/T1) / ln(L2/L1): 1 when throughput grows as the load does, 0 when it stands still. The knee is the
    first level after which no step reaches PAYING_ELASTICITY, so a plateau with a later rise is no knee.
    """
    curve = sorted((level, rate) for level, rate in points if level > 0 and rate > 0)
    if len({level for level, _ in curve}) != len(curve) or len(curve) < LEAST_LEVELS:
        return None
    steps = [math.log(t2 / t1) / math.log(l2 / l1) for (l1, t1), (l2, t2) in pairwise(curve)]
    paying = [i for i, step in enumerate(steps) if step >= PAYING_ELASTICITY]
    position = paying[-1] + 1 if paying else 0
    level, rate = curve[position] if position < len(steps) else (None, None)
    return Knee(tuple(x for x, _ in curve), tuple(y for _, y in curve), tuple(steps), level, rate)
