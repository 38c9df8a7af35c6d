"""Limits of one request: when it is given up."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

from trtbench.clock import NS_PER_S
from trtbench.records import Outcome


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


class Patience:
    """Cancels the running task's call at the first limit of time; `over` says that it did."""

    def __init__(self, call: Any, limits: Limits, sent_ns: int) -> None:
        self.over = False
        self._call, self._task = call, asyncio.current_task()
        until_ns, self.outcome, self.error = limits.end_of_patience(sent_ns)
        self._timer = asyncio.get_running_loop().call_later((until_ns - sent_ns) / NS_PER_S, self._end)

    def cancel(self) -> None:
        self._timer.cancel()

    def forgive(self) -> None:
        """The task goes on as if it had never been cancelled."""
        if sys.version_info >= (3, 11) and self._task:
            self._task.uncancel()

    def _end(self) -> None:
        self.over = True
        self._call.cancel()
        if self._task:  # one that waits for a call that has not begun to be sent is told nothing by grpc.aio
            self._task.cancel()
