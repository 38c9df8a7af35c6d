"""What the engine counted of each request and sent with its answer: prompt blocks found in the cache, draft tokens accepted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from trtbench.records import EngineCounts, RequestRecord


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


def reuse_by_request(requests: Iterable[RequestRecord]) -> ReuseByRequest | None:
    """None where no request tells of reused blocks and of others."""
    told = [counts for counts in _counts(requests) if counts.kv_reused_blocks is not None]
    missed = [counts for counts in told if counts.kv_missed_blocks is not None]
    allocated = [counts for counts in told if counts.kv_allocated_blocks is not None]
    if missed and len(missed) >= len(allocated):
        return _reuse(missed, [counts.kv_missed_blocks or 0 for counts in missed], "missed")
    return _reuse(allocated, [counts.kv_allocated_blocks or 0 for counts in allocated], "allocated") if allocated else None


def drafts_by_request(requests: Iterable[RequestRecord]) -> DraftsByRequest | None:
    """None where no request had a draft token: an engine that does not speculate tells zeros."""
    drafted = [counts for counts in _counts(requests) if counts.draft_tokens and counts.accepted_draft_tokens is not None]
    if not drafted:
        return None
    proposed, accepted = (
        sum(values) for values in zip(*((c.draft_tokens or 0, c.accepted_draft_tokens or 0) for c in drafted), strict=True)
    )
    return DraftsByRequest(len(drafted), proposed, accepted, accepted / proposed)


def _reuse(counts: Sequence[EngineCounts], others: Sequence[int], basis: Literal["missed", "allocated"]) -> ReuseByRequest:
    reused, other = sum(one.kv_reused_blocks or 0 for one in counts), sum(others)
    return ReuseByRequest(len(counts), reused, other, basis, reused / (reused + other) if reused + other else None)


def _counts(requests: Iterable[RequestRecord]) -> list[EngineCounts]:
    return [request.engine for request in requests if request.engine]
