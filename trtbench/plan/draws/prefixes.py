"""Shared prefixes: which request begins with which."""

from __future__ import annotations

import numpy as np

from trtbench.scenario.workload.request_kind import Prefix


def draw_groups(prefix: Prefix, count: int, random: np.random.Generator) -> list[int | None]:
    """The group of each of `count` requests; None: no shared prefix. Longer draws begin like shorter ones."""
    shared, which = random.random((count, 2)).T
    groups = np.searchsorted(np.cumsum(prefix.group_shares)[:-1], which, side="right").tolist()
    return [group if has else None for has, group in zip((shared < prefix.share_ratio).tolist(), groups, strict=True)]
