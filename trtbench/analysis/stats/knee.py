"""The knee of a curve of throughput over load, and the share of resamples of the stages in which it is at each level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from trtbench.analysis.stats.batch_means import Floats, correlation, widening
from trtbench.rundir.event_kinds import IF_KNOWN

LEAST_LEVELS = 3
PAYING_ELASTICITY = 0.1
"""The least elasticity that pays: below it, doubling the users brings less than 2**0.1 - 1 = 7 % more throughput."""
RESAMPLES = 2000
NONE = "none"
_SEED = 1
_MOST_CORRELATION = 0.9
_LEAST_RATE_RATIO = 0.01


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """The throughput of one level of load. `blocks`: its rate in each of several equal parts of the stage; empty if unknown."""

    level: float
    rate: float
    blocks: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Knee:
    """The knee of a throughput curve. `level` is None if every step still paid. `elasticities[i]` belongs to the step from levels[i] to
    levels[i + 1]. `shares`: the share of resamples in which the knee is at each level (as "4"), or in which every step paid ("none");
    None if the blocks of a level are unknown.
    """

    levels: tuple[float, ...]
    throughputs: tuple[float, ...]
    elasticities: tuple[float, ...]
    level: float | None
    throughput: float | None
    shares: dict[str, float] | None = field(default=None, metadata=IF_KNOWN)

    @property
    def agreement(self) -> float | None:
        """The share of resamples that have the knee at the same level, or none either."""
        return None if self.shares is None else self.shares.get(NONE if self.level is None else level_name(self.level), 0.0)


def level_name(level: float) -> str:
    """A level as in `Knee.shares`, from which float() gives it back: "4", or all digits of the mean number of users of a ramp."""
    return str(int(level)) if float(level).is_integer() else repr(float(level))


def find_knee(points: Sequence[LoadPoint]) -> Knee | None:
    """The knee of the points of one engine; None with fewer than three levels with throughput.

    A step's elasticity is ln(T2/T1) / ln(L2/L1): 1 if throughput grows as the load does, 0 if it does not grow. The knee is the first level
    after which no step reaches PAYING_ELASTICITY, so a plateau with a later rise is not a knee.
    """
    curve = sorted((point for point in points if point.level > 0 and point.rate > 0), key=lambda point: (point.level, point.rate))
    levels = tuple(point.level for point in curve)
    if len(set(levels)) != len(curve) or len(curve) < LEAST_LEVELS:
        return None
    steps = tuple(math.log(right.rate / left.rate) / math.log(right.level / left.level) for left, right in pairwise(curve))
    paying = [i for i, step in enumerate(steps) if step >= PAYING_ELASTICITY]
    position = paying[-1] + 1 if paying else 0
    found = curve[position] if position < len(steps) else None
    level, rate = (found.level, found.rate) if found else (None, None)
    return Knee(levels, tuple(point.rate for point in curve), steps, level, rate, _shares(curve))


def _shares(curve: Sequence[LoadPoint]) -> dict[str, float] | None:
    """Where the knee is in RESAMPLES draws, each of which draws the blocks of every level again."""
    if not all(len(point.blocks) > 1 for point in curve):
        return None
    random = np.random.default_rng(_SEED)
    logs = np.log(np.stack([_resampled(point, random) for point in curve], axis=1))
    steps = np.diff(logs, axis=1) / np.diff(np.log([point.level for point in curve]))
    paying = steps >= PAYING_ELASTICITY
    first = np.where(paying.any(1), paying.shape[1] - np.argmax(paying[:, ::-1], axis=1), 0)
    counts = np.bincount(first, minlength=len(curve))
    names = [*(level_name(point.level) for point in curve[:-1]), NONE]
    return {name: count / RESAMPLES for name, count in zip(names, counts.tolist(), strict=True) if count}


def _resampled(point: LoadPoint, random: np.random.Generator) -> Floats:
    """[RESAMPLES] rates: the deviations of as many drawn blocks, widened by the dependence of neighbouring blocks, around the rate."""
    blocks = np.array(point.blocks)
    deviations = blocks / max(blocks.mean(), 1e-12) - 1
    drawn = deviations[random.integers(0, len(blocks), (RESAMPLES, len(blocks)))].mean(1)
    wider = widening(min(correlation(blocks), _MOST_CORRELATION)) * math.sqrt(len(blocks) / (len(blocks) - 1))
    rates: Floats = point.rate * np.maximum(1 + drawn * wider, _LEAST_RATE_RATIO)
    return rates
