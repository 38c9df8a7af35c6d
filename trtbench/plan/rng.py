"""Streams of random numbers, one for each dimension, stage and phase; and prefixes, think times and lengths that are drawn from them.

Longer draws begin like shorter ones.
"""

from __future__ import annotations

import hashlib

import numpy as np

from trtbench.plan.arrivals import Offsets
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.workload.lengths import Empirical, Lognormal, Normal, Range
from trtbench.scenario.workload.request_kind import Prefix, Think
from trtbench.system.clock import NS_PER_S

MAX_SEED = 2**31
"""The largest seed of sampling plus one. It fits every seed input of a model, and JSON readers that have only doubles."""


def random_stream(dimension: str, seed: int, stage: Stage, warmup: bool) -> np.random.Generator:
    """The stream of a dimension, stage and phase. The same name and seed give the same numbers; different names give different numbers.

    A stage that is declared the same as another has the streams of that one.
    """
    name = f"{dimension}/{stage.drawn_as}/{'warmup' if warmup else 'measured'}"
    salt = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng(np.random.SeedSequence([seed % 2**64, salt]))


def draw_groups(prefix: Prefix, count: int, random: np.random.Generator) -> list[int | None]:
    """The prefix group of each of `count` requests, or None for one without a shared prefix."""
    shared, which = random.random((count, 2)).T
    groups = np.searchsorted(np.cumsum(prefix.group_shares)[:-1], which, side="right").tolist()
    return [group if has else None for has, group in zip((shared < prefix.share_ratio).tolist(), groups, strict=True)]


def think_ns(think: Think, count: int, random: np.random.Generator) -> Offsets:
    """`count` think times in nanoseconds, of shape [count]."""
    seconds = np.full(count, think.mean) if think.distribution == "fixed" else random.exponential(think.mean, count)
    return np.rint(seconds * NS_PER_S).astype(np.int64)


def draw_lengths(law: Range | Normal | Lognormal | Empirical, count: int, random: np.random.Generator) -> list[int]:
    """`count` lengths, each within the bounds of the distribution."""
    if isinstance(law, Range):
        drawn: list[int] = random.integers(law.min, law.max + 1, size=count).tolist()
        return drawn
    if isinstance(law, Empirical):
        chosen: list[int] = random.choice(np.array(law.values), size=count, p=law.shares).tolist()
        return chosen
    return law.lengths_at(random.random(count).tolist())
