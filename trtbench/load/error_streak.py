"""Failures in a row: what each worker counts, and what the counts of all workers mean together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from trtbench.system.clock import now_ns


@dataclass(slots=True)
class ErrorStreak:
    """The requests of one worker that failed since its last one that did not: of more than `most`, the newest.

    `most` is the number that is looked for; 0: none is.
    """

    most: int = 0
    success_ns: int = 0
    failures_ns: deque[int] = field(default_factory=deque)

    def add(self, failed: bool) -> None:
        """Count a request that has just ended."""
        if not self.most:
            return
        if not failed:
            self.success_ns = now_ns()
            self.failures_ns.clear()
            return
        if len(self.failures_ns) == self.most:
            self.failures_ns.popleft()
        self.failures_ns.append(now_ns())

    @property
    def counted(self) -> tuple[int, list[int]]:
        return self.success_ns, list(self.failures_ns)


def failed_in_a_row(streaks: Iterable[tuple[int, list[int]]]) -> int:
    """The failures of all workers since the last success of any, from (success_ns, failures_ns) of each worker."""
    reported = list(streaks)
    last_success_ns = max((success_ns for success_ns, _ in reported), default=0)
    return sum(failed_ns > last_success_ns for _, failures_ns in reported for failed_ns in failures_ns)
