"""Limits of one request: when it is given up."""

from __future__ import annotations

from dataclasses import dataclass

from trtbench.rundir.records import Outcome
from trtbench.system.clock import NS_PER_S


@dataclass(frozen=True)
class Limits:
    """When a request is given up: past its time limit, and where the plan has its user go away."""

    deadline_ns: int
    cancel_after_tokens: int | None = None
    cancel_after_ns: int | None = None  # from its sending

    def end_of_patience(self, sent_ns: int) -> tuple[int, Outcome, str]:
        """(instant, outcome, error) of the first limit that time alone reaches."""
        if self.cancel_after_ns is not None and sent_ns + self.cancel_after_ns < self.deadline_ns:
            return sent_ns + self.cancel_after_ns, Outcome.CANCELLED, f"planned: after {self.cancel_after_ns / NS_PER_S:g} s"
        return self.deadline_ns, Outcome.TIMEOUT, "its time limit has passed"

    def tokens_reached(self, tokens: int) -> str:
        """The error of a request that the plan cancels after as many tokens as have come; "" while it goes on."""
        asked = self.cancel_after_tokens
        return f"planned: after {asked} tokens" if asked is not None and tokens >= asked else ""
