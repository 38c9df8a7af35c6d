"""Attempts: sends one planned request, with its limits and the retries that the scenario allows. StopSignal: ends a phase early."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from trtbench.client.protocol import Client, Limits
from trtbench.client.request_outcome import ANSWERED
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import now_ns, seconds_ns

StopReason = Literal["steady", "interrupted", "server_lost"]


class StopSignal:
    """Whether and why a phase has to stop. Steady figures and a first interrupt drain it: nothing more is sent, and what is in flight may
    end. A second interrupt and a lost server cancel what is in flight. Set on the event loop's thread."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self._draining = asyncio.Event()
        self._cancelling = asyncio.Event()

    def steady(self) -> None:
        """Send nothing more and wait for what is in flight."""
        self.reason = self.reason or "steady"
        self._draining.set()

    def interrupt(self) -> None:
        """Send nothing more and wait for what is in flight; the second time, cancel that too."""
        if self.reason == "interrupted":
            self._cancelling.set()
        self.reason = "interrupted" if self.reason in (None, "steady") else self.reason
        self._draining.set()

    def server_lost(self) -> None:
        """Cancel everything, because the server is gone and nothing in flight can be answered."""
        self.reason = "server_lost"
        self._draining.set()
        self._cancelling.set()

    def cancel(self) -> None:
        """Interrupt without waiting for what is in flight."""
        self.interrupt()
        self.interrupt()

    @property
    def is_set(self) -> bool:
        return self._draining.is_set()

    async def wait_draining(self) -> None:
        await self._draining.wait()

    async def wait_cancelling(self) -> None:
        await self._cancelling.wait()


_HOPELESS = (*ANSWERED, Outcome.CANCELLED, Outcome.TIMEOUT, Outcome.TOO_LONG, Outcome.DENIED, Outcome.BAD_REQUEST)


@dataclass(frozen=True)
class Attempts:
    """Sends requests with a client. `timeout_s` is the time limit of a request from the instant it is due, over all its attempts.

    `retries` is the number of further attempts after a failure before the first token, each after a pause of `delay_s`.
    """

    client: Client
    timeout_s: float
    retries: int = 0
    delay_s: float = 0.0

    async def send_with_retries(self, record: RequestRecord, body: bytes, prompt: PlannedPrompt, stop: StopSignal) -> None:
        """Send the request of `record` and write its result there. A failure of the request is not raised.

        Cancelling the call ends the request as cancelled, or as a lost connection if the server is gone."""
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
    record.sent_ns = record.done_ns = record.done_lag_ns = record.server = record.engine = record.retry_after_s = None
    record.outcome, record.error, record.model_version, record.echoed_tokens = Outcome.NEVER_SENT, "", "", 0
    record.finish_reason = record.output_text = ""
    if record.planned_input_tokens is not None:
        record.input_tokens, record.planned_input_tokens = record.planned_input_tokens, None
