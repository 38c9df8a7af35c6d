"""The exit codes that commands share; docs/exit-codes.md describes all of them."""

from __future__ import annotations

from collections.abc import Sequence

from trtbench.analysis.summary import Summary
from trtbench.compare.decision import Decision, outcome_of

PASSED = 0
FAULT = 1
NOT_COMPARABLE = 3
INVALID_RUN = 4
"""A run came to its end and its figures cannot be used."""
REGRESSION = 5
"""A condition failed."""
UNDECIDED = 6
"""No condition failed, and the data cannot decide one."""
_OF_OUTCOMES = {"passed": PASSED, "failed": REGRESSION, "undecided": UNDECIDED}


def code_of_decisions(decisions: Sequence[Decision]) -> int:
    return _OF_OUTCOMES[outcome_of(decisions)] if decisions else PASSED


def code_of_verdict(summary: Summary, strict: bool = False) -> int:
    """INVALID_RUN if the run cannot be used, or, if `strict`, if there are reasons for doubt. FAULT if no request completed."""
    if any(reason.code == "nothing_completed" for reason in summary.verdict.reasons):
        return FAULT
    doubtful = ("INVALID", "SUSPECT") if strict else ("INVALID",)
    return INVALID_RUN if summary.verdict.status in doubtful else PASSED
