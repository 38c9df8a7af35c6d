"""What an ideal prefix cache makes of a workload's design."""

from __future__ import annotations

import math

from trtbench.scenario.workload.request_kind import Prefix
from trtbench.scenario.workload.workload import Workload


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
    return math.fsum(1 - (1 - share * prefix.share_ratio * group) ** requests for group in prefix.group_shares)
