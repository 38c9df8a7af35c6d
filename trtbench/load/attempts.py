"""One planned request, sent until it is over: its limits, and the retries that the scenario allows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from trtbench.client.errors import ANSWERED
from trtbench.client.protocol import Client, Limits
from trtbench.load.stop import StopSignal
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import now_ns, seconds_ns

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
            await self.client.send(record, body, limits)
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
