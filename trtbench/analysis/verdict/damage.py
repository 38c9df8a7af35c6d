"""What of the run directory could not be read, as reasons of the verdict: nothing that was lost is left out silently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from trtbench.analysis.verdict.verdict import Grade, Reason
from trtbench.rundir import MISSING, Loss, Requests, Samples
from trtbench.rundir.event_kinds import DeploymentFinished, DeploymentStarted
from trtbench.rundir.events import times_ns
from trtbench.rundir.records import Event

_GRADES: dict[str, Grade] = {
    "missing": "invalid",
    "unreadable": "invalid",
    "lines": "suspect",
    "torn": "suspect",
    "rows": "suspect",
    "values": "suspect",
    "events": "suspect",
    "columns": "suspect",
    "foreign": "invalid",
    "foreign_samples": "suspect",
}
_NEEDED = ("events.jsonl", "requests", "deployment.json")
"""Figures are based on these; without another file, fewer figures are shown."""


def damage_reasons(losses: Iterable[Loss], complete: bool) -> Iterator[Reason]:
    """One for each file and kind of loss. A last line that is cut off is what a kill leaves: there the run is reported as incomplete."""
    for loss in losses:
        directory, _, name = loss.file.rpartition("/")
        grade = _GRADES[loss.what]
        if grade == "invalid" and not name.startswith(_NEEDED):
            grade = "note"
        figures: dict[str, float | str] = {"file": loss.file, "count": loss.count, "why": loss.why or "-"}
        if loss.what != "torn" or complete:
            yield Reason(f"damaged_{loss.what}", grade, directory.split("/")[0], figures=figures)


def foreign_records(requests: Requests, samples: Samples, events: Sequence[Event]) -> tuple[int, int]:
    """How many requests and samples are from before the deployment began or after it ended, by `events`, its own: they belong to another
    deployment. None of an unfinished one."""
    started, finished = times_ns(events, DeploymentStarted), times_ns(events, DeploymentFinished)
    if not started or not finished:
        return 0, 0
    start_ns, end_ns = started[-1], finished[-1]
    sent = requests.sent_ns[requests.sent_ns != MISSING]
    return int(((sent < start_ns) | (sent > end_ns)).sum()), samples.outside(start_ns, end_ns)
