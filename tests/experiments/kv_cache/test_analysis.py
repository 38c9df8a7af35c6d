"""Findings about cancelled requests."""

from __future__ import annotations

import pytest

from tests.support.having import having
from trtbench.analysis.summary import Summary
from trtbench.experiments.kv_cache.analysis import cancel_findings
from trtbench.experiments.kv_cache.cancellation import CANCELLATIONS, Cancellation


@pytest.mark.parametrize(
    ("blocks", "let_go", "longest_s", "kept"),
    [(None, 4, 0.5, False), (0, 4, 0.5, False), (3, 4, 0.5, True), (3, 4, 2.5, False), (3, 3, None, True), (3, None, None, False)],
)
def test_cancelled_requests_that_kept_their_blocks(
    summary: Summary, blocks: int | None, let_go: int | None, longest_s: float | None, kept: bool
) -> None:
    """A starved engine takes seconds to let go: what it then still had after one is no leak."""
    longest_ns = None if longest_s is None else round(longest_s * 1e9)
    audits = (Cancellation("c4", 2, 9, None, 3, 2, None, 0), Cancellation("c8", 4, 28, None, 32, let_go, longest_ns, blocks))
    result = having(summary.deployments[1], {CANCELLATIONS: audits})
    codes = {finding.code: finding for finding in cancel_findings(result, summary.scenario)}
    assert ("cancel_blocks_kept" in codes) is kept
    if kept:
        assert (codes["cancel_blocks_kept"].stage, codes["cancel_blocks_kept"].figures) == ("c8", {"blocks": 3, "cancelled": 4})
