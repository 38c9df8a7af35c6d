"""What of the run directory could not be read, as reasons of the verdict: nothing that was lost is left out silently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trtbench.analysis.verdict import Grade, Reason
from trtbench.rundir import Loss

_GRADES: dict[str, Grade] = {"missing": "invalid", "unreadable": "invalid", "torn": "note"}
_NEEDED = ("events.jsonl", "requests", "deployment.json")
"""Figures rest on these; without another file, fewer figures are shown."""


def damage_reasons(losses: Iterable[Loss]) -> Iterator[Reason]:
    """One for each file and kind of loss; a torn last line is what a kill leaves, and the run says so elsewhere."""
    for loss in losses:
        directory, _, name = loss.file.rpartition("/")
        grade = _GRADES.get(loss.what, "suspect")
        if grade == "invalid" and not name.startswith(_NEEDED):
            grade = "note"
        figures: dict[str, float | str] = {"file": loss.file, "count": loss.count, "why": loss.why or "-"}
        yield Reason(f"damaged_{loss.what}", grade, directory.split("/")[0], figures=figures)
