"""Streams of random numbers: one of its own for every dimension, stage and phase."""

from __future__ import annotations

import hashlib

import numpy as np

from trtbench.scenario.load.stage import Stage

MAX_SEED = 2**31
"""Of sampling: fits every seed input in use, and JSON readers that know doubles only."""


def random_stream(dimension: str, seed: int, stage: Stage, warmup: bool) -> np.random.Generator:
    """The same name and seed give the same numbers; another dimension, stage or phase others, whatever its seed.

    A stage that is the same as another has that one's.
    """
    name = f"{dimension}/{stage.drawn_as}/{'warmup' if warmup else 'measured'}"
    salt = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng(np.random.SeedSequence([seed % 2**64, salt]))
