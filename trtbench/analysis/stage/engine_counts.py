"""What the engine counted of each request and sent with its answer: prompt blocks found in the cache, draft tokens accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trtbench.rundir import MISSING, Ints, Requests


@dataclass(frozen=True, slots=True)
class ReuseByRequest:
    """`requests` told their blocks. `hit_ratio` is reused / (reused + other), None where the engine counted no block at all.

    `other_blocks` are prompt blocks not found: the missed ones where every request tells them, else the allocated ones (`basis`). A block
    found in part and copied, or brought back from host memory, is among the allocated too, so that ratio is never above the one by missed
    blocks (docs/metrics.md).
    """

    requests: int
    reused_blocks: int
    other_blocks: int
    basis: Literal["missed", "allocated"]
    hit_ratio: float | None


@dataclass(frozen=True, slots=True)
class DraftsByRequest:
    """Speculative decoding: `requests` had draft tokens; `acceptance_ratio` is accepted / proposed, over all of them."""

    requests: int
    draft_tokens: int
    accepted_tokens: int
    acceptance_ratio: float


def reuse_by_request(requests: Requests) -> ReuseByRequest | None:
    """None where no request tells of reused blocks and of others."""
    reused, missed, allocated = (requests.column(f"engine.kv_{name}_blocks") for name in ("reused", "missed", "allocated"))
    with_missed, with_allocated = ((reused != MISSING) & (others != MISSING) for others in (missed, allocated))
    if with_missed.any() and with_missed.sum() >= with_allocated.sum():
        return _reuse(reused[with_missed], missed[with_missed], "missed")
    return _reuse(reused[with_allocated], allocated[with_allocated], "allocated") if with_allocated.any() else None


def drafts_by_request(requests: Requests) -> DraftsByRequest | None:
    """None where no request had a draft token: an engine that does not speculate tells zeros."""
    drafts, accepted = (requests.column(f"engine.{name}draft_tokens") for name in ("", "accepted_"))
    drafted = (drafts != MISSING) & (drafts != 0) & (accepted != MISSING)
    if not drafted.any():
        return None
    proposed, taken = int(drafts[drafted].sum()), int(accepted[drafted].sum())
    return DraftsByRequest(int(drafted.sum()), proposed, taken, taken / proposed)


def _reuse(reused_blocks: Ints, other_blocks: Ints, basis: Literal["missed", "allocated"]) -> ReuseByRequest:
    reused, other = int(reused_blocks.sum()), int(other_blocks.sum())
    return ReuseByRequest(len(reused_blocks), reused, other, basis, reused / (reused + other) if reused + other else None)
