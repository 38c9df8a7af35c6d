"""Streams of random numbers, one for each dimension, stage and phase, and what is drawn from them: prefixes, think times, lengths.

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
"""Of sampling: fits every seed input in use, and JSON readers that know doubles only."""


def random_stream(dimension: str, seed: int, stage: Stage, warmup: bool) -> np.random.Generator:
    """The same name and seed give the same numbers; another dimension, stage or phase others, whatever its seed.

    A stage that is the same as another has that one's.
    """
    name = f"{dimension}/{stage.drawn_as}/{'warmup' if warmup else 'measured'}"
    salt = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng(np.random.SeedSequence([seed % 2**64, salt]))


def draw_groups(prefix: Prefix, count: int, random: np.random.Generator) -> list[int | None]:
    """The group of each of `count` requests; None: no shared prefix. Longer draws begin like shorter ones."""
    shared, which = random.random((count, 2)).T
    groups = np.searchsorted(np.cumsum(prefix.group_shares)[:-1], which, side="right").tolist()
    return [group if has else None for has, group in zip((shared < prefix.share_ratio).tolist(), groups, strict=True)]


def think_ns(think: Think, count: int, random: np.random.Generator) -> Offsets:
    """So many pauses, nanoseconds, shape [count]; more of them begin like fewer."""
    seconds = np.full(count, think.mean) if think.distribution == "fixed" else random.exponential(think.mean, count)
    return np.rint(seconds * NS_PER_S).astype(np.int64)


def draw_lengths(law: Range | Normal | Lognormal | Empirical, count: int, random: np.random.Generator) -> list[int]:
    """`count` lengths, each within the law's bounds."""
    if isinstance(law, Range):
        drawn: list[int] = random.integers(law.min, law.max + 1, size=count).tolist()
        return drawn
    if isinstance(law, Empirical):
        chosen: list[int] = random.choice(np.array(law.values), size=count, p=law.shares).tolist()
        return chosen
    return law.lengths_at(random.random(count).tolist())
