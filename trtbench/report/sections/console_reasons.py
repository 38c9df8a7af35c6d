"""Why a run cannot be used, in the few lines that the console has for it."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.summary import Summary
from trtbench.report.kit.words import Words

_MOST_REASONS, _MOST_CLASSES = 3, 3


def invalid_because(summary: Summary, words: Words) -> Iterator[str]:
    """The first reasons of an INVALID run; where nothing completed, the classes of failure too, each with its message and its remedy."""
    invalid = [reason for reason in summary.verdict.reasons if reason.grade == "invalid"]
    for reason in invalid[:_MOST_REASONS]:
        text = words(f"reason.{reason.code}", **reason.figures)
        where = f"{reason.deployment} {reason.stage}".strip()
        yield words("reason.where", where=where, text=text) if where else text
    if not any(reason.code == "nothing_completed" for reason in invalid):
        return
    errors = {finding.code: finding for finding in reversed(summary.findings) if finding.code.startswith("errors_")}
    for code, finding in list(reversed(errors.items()))[:_MOST_CLASSES]:
        yield words.finding(code, "seen", finding.figures)
        yield words.finding(code, "remedy", finding.figures)
