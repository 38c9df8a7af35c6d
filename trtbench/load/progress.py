"""LoadProgress: live figures of a running load, for whoever shows them."""

from __future__ import annotations

from dataclasses import dataclass, field

from trtbench.rundir.records import Outcome, RequestRecord


@dataclass(slots=True)
class Counts:
    """Of one phase so far; `failed` counts all that ended otherwise than completed or as the plan cancels it."""

    sent: int = 0
    in_flight: int = 0
    completed: int = 0
    failed: int = 0
    output_tokens: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in Counts.__slots__))


@dataclass(slots=True)
class LoadProgress:
    """The phase that runs now. `planned` is None while a closed loop runs until `ends_ns`.

    `finished`, where it is wanted, collects (done_ns, end-to-end latency in ns) of completed requests until they are taken.
    """

    stage: str = ""
    warmup: bool = False
    planned: int | None = None
    starts_ns: int = 0
    ends_ns: int | None = None
    counts: Counts = field(default_factory=Counts)
    finished: list[tuple[int, int]] | None = None

    def begin(self, stage: str, warmup: bool, planned: int | None, starts_ns: int, ends_ns: int | None) -> None:
        """Start over for a phase."""
        self.stage, self.warmup, self.planned, self.starts_ns, self.ends_ns = stage, warmup, planned, starts_ns, ends_ns
        self.counts = Counts()

    def count_sent(self) -> None:
        self.counts.sent += 1
        self.counts.in_flight += 1

    def count_done(self, record: RequestRecord) -> None:
        counts = self.counts
        counts.in_flight -= 1
        counts.output_tokens += record.output_tokens
        if record.outcome is Outcome.COMPLETED:
            counts.completed += 1
            if self.finished is not None and record.done_ns is not None:
                self.finished.append((record.done_ns, record.done_ns - record.due_ns))
        elif not (record.planned_cancel and record.outcome is Outcome.CANCELLED):
            counts.failed += 1

    def take_finished(self) -> list[tuple[int, int]]:
        finished = self.finished or []
        self.finished = None if self.finished is None else []
        return finished
