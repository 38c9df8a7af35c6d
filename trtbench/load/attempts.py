"""One planned request, sent until it is over or the phase is stopped: its limits, and the retries that the scenario allows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from trtbench.client.outcomes import ANSWERED
from trtbench.client.protocol import Client, Limits
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import now_ns, seconds_ns

StopReason = Literal["steady", "interrupted", "server_lost"]


class StopSignal:
    """Asked from outside on the event loop's thread: figures that are steady and an interrupt drain; a second interrupt and a lost
    server cancel at once."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self._draining = asyncio.Event()
        self._cancelling = asyncio.Event()

    def steady(self) -> None:
        """Send nothing more and wait for what is in flight."""
        self.reason = self.reason or "steady"
        self._draining.set()

    def interrupt(self) -> None:
        """The same; the second time, cancel what is in flight too."""
        if self.reason == "interrupted":
            self._cancelling.set()
        self.reason = "interrupted" if self.reason in (None, "steady") else self.reason
        self._draining.set()

    def server_lost(self) -> None:
        """The server is gone: nothing in flight can come back."""
        self.reason = "server_lost"
        self._draining.set()
        self._cancelling.set()

    def cancel(self) -> None:
        """Interrupt, and do not wait."""
        self.interrupt()
        self.interrupt()

    @property
    def is_set(self) -> bool:
        return self._draining.is_set()

    async def wait_draining(self) -> None:
        await self._draining.wait()

    async def wait_cancelling(self) -> None:
        await self._cancelling.wait()


_HOPELESS = (*ANSWERED, Outcome.CANCELLED, Outcome.TIMEOUT, Outcome.TOO_LONG)


@dataclass(frozen=True)
class Attempts:
    """`timeout_s`: a request's own limit, from due, all attempts together. `retries`: further attempts after a failure without a token."""

    client: Client
    timeout_s: float
    retries: int = 0
    delay_s: float = 0.0

    async def send(self, record: RequestRecord, body: bytes, prompt: PlannedPrompt, stop: StopSignal) -> None:
        """Fill `record`. No fault of the request raises. Cancelled, the record says so, or that the server is gone."""
        limits = Limits(record.due_ns + seconds_ns(self.timeout_s), prompt.cancel_after_tokens, prompt.cancel_after_ns)
        try:
            await self._attempt(record, body, limits)
            for _ in range(self.retries):
                if not self._may_retry(record, limits, stop):
                    break
                await asyncio.sleep(self.delay_s)
                _reset(record)
                await self._attempt(record, body, limits)
        except asyncio.CancelledError:
            if stop.reason == "server_lost":
                record.outcome, record.error = Outcome.CONNECTION, "the server is gone"
            raise
        except Exception as error:
            record.outcome, record.error = Outcome.OTHER, f"fault of the client: {error!r}"
            raise

    async def _attempt(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        try:
            await self.client.send_request(record, body, limits)
        finally:
            record.attempts += record.sent_ns is not None

    def _may_retry(self, record: RequestRecord, limits: Limits, stop: StopSignal) -> bool:
        if record.outcome in _HOPELESS or record.token_ns or stop.is_set:
            return False
        return now_ns() + seconds_ns(self.delay_s) < limits.deadline_ns


def _reset(record: RequestRecord) -> None:
    record.sent_ns = record.done_ns = record.done_lag_ns = record.server = record.engine = None
    record.outcome, record.error, record.model_version, record.echoed_tokens = Outcome.NEVER_SENT, "", "", 0
    record.finish_reason = record.output_text = ""
