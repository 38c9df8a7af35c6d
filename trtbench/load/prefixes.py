"""Shared prefixes: which request begins with which, and what an ideal prefix cache makes of the design."""

from __future__ import annotations

import math

import numpy as np

from trtbench.scenario import Prefix, Workload


def draw_groups(prefix: Prefix, count: int, random: np.random.Generator) -> list[int | None]:
    """The group of each of `count` requests; None: no shared prefix. Longer draws begin like shorter ones."""
    shared, which = random.random((count, 2)).T
    groups = np.searchsorted(np.cumsum(prefix.group_shares)[:-1], which, side="right").tolist()
    return [group if has else None for has, group in zip((shared < prefix.share_ratio).tolist(), groups, strict=True)]


def expected_hit_ratio(workload: Workload, requests: int) -> float | None:
    """Input tokens that a prefix cache of any size finds, of all, in a stage of so many requests that begins cold; in the mean.

    New are the own tokens of every request that is no duplicate, and the first use of each prefix: one that a request has with
    probability p is met in n requests with probability 1 - (1 - p)^n. None where prompts have nothing in common by design, or where
    that is the dataset's or the sessions' affair.
    """
    kinds = list(zip(workload.kind_shares, workload.kinds.values(), strict=True))
    shares_tokens = workload.duplicate_ratio or any(kind.prefix for _, kind in kinds)
    if not shares_tokens or not requests or any(kind.dataset or kind.sessions for _, kind in kinds):
        return None
    originals = requests * (1 - workload.duplicate_ratio)
    own_tokens = math.fsum(share * kind.input_tokens.expected for share, kind in kinds)
    prefix_tokens = math.fsum(share * kind.prefix.share_ratio * kind.prefix.tokens for share, kind in kinds if kind.prefix)
    first_uses = math.fsum(kind.prefix.tokens * _groups_met(kind.prefix, share, originals) for share, kind in kinds if kind.prefix)
    return 1 - (originals * own_tokens + first_uses) / (requests * (own_tokens + prefix_tokens))


def _groups_met(prefix: Prefix, share: float, requests: float) -> float:
    """Groups that are used at least once, in the mean, when `share` of the requests are of the prefix's kind."""
    probabilities = share * prefix.share_ratio * np.array(prefix.group_shares)
    return float(np.sum(1 - (1 - probabilities) ** requests))
