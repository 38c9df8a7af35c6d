"""LoadProgress: live figures of a running load, for whoever shows them."""

from __future__ import annotations

from dataclasses import dataclass

from trtbench.records import Outcome, RequestRecord


@dataclass(slots=True)
class LoadProgress:
    """The phase that runs now.

    `planned` is None while a closed loop runs until `ends_ns`; `failed` counts all that ended otherwise than completed.
    """

    stage: str = ""
    warmup: bool = False
    planned: int | None = None
    starts_ns: int = 0
    ends_ns: int | None = None
    sent: int = 0
    in_flight: int = 0
    completed: int = 0
    failed: int = 0
    output_tokens: int = 0

    def begin(self, stage: str, warmup: bool, planned: int | None, starts_ns: int, ends_ns: int | None) -> None:
        """Start over for a phase."""
        self.stage, self.warmup, self.planned, self.starts_ns, self.ends_ns = stage, warmup, planned, starts_ns, ends_ns
        self.sent = self.in_flight = self.completed = self.failed = self.output_tokens = 0

    def count_sent(self) -> None:
        self.sent += 1
        self.in_flight += 1

    def count_done(self, record: RequestRecord) -> None:
        self.in_flight -= 1
        self.output_tokens += record.output_tokens
        if record.outcome is Outcome.COMPLETED:
            self.completed += 1
        else:
            self.failed += 1
