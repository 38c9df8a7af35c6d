"""What the engine told with each answer: prompt blocks found in its cache, draft tokens that were accepted."""

from __future__ import annotations

from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Paragraph, Table
from trtbench.report.kit.format import percent, whole
from trtbench.report.kit.words import Words

_REUSE = ("told_requests", "reused_blocks", "other_blocks", "basis", "hit_ratio_by_request")
_DRAFTS = ("drafted_requests", "draft_tokens", "accepted_tokens", "acceptance_ratio")


def reuse_by_request(summary: Summary, words: Words) -> list[Block]:
    """Nothing where no request told."""
    tables: list[Block] = []
    for result in summary.deployments:
        rows = tuple(
            (
                stage.span.name,
                *(whole(found.requests), whole(found.reused_blocks), whole(found.other_blocks)),
                *(words(f"reuse.basis_{found.basis}"), percent(found.hit_ratio)),
            )
            for stage in result.stages
            if (found := stage.reuse)
        )
        if rows:
            tables.append(Table(words.header("stage", *_REUSE), rows, words("reuse.by_request", deployment=result.name)))
    return [*tables, Paragraph(words("reuse.by_request_note"))] if tables else []


def draft_acceptance(summary: Summary, words: Words) -> list[Block]:
    """Nothing without speculative decoding."""
    tables: list[Block] = []
    for result in summary.deployments:
        rows = tuple(
            (
                stage.span.name,
                *(whole(found.requests), whole(found.draft_tokens), whole(found.accepted_tokens)),
                percent(found.acceptance_ratio),
            )
            for stage in result.stages
            if (found := stage.drafts)
        )
        if rows:
            tables.append(Table(words.header("stage", *_DRAFTS), rows, words("drafts.caption", deployment=result.name)))
    return [*tables, Paragraph(words("drafts.note"))] if tables else []
