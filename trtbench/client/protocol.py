"""Client: sends one planned request and records what comes back; Limits: when the request is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trtbench.client.transport.greeting import explain
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
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


TOO_LATE = "its time limit had passed before it could be sent"


class ConnectError(Exception):
    """The server cannot be reached; the message says where and why."""


async def unreachable(url: str, settings: ClientSettings, fault: str) -> ConnectError:
    """The error of a server that was not reached: what answers at its address now, or `fault` where nothing is wrong with that."""
    found = await asyncio.to_thread(explain, url, settings)
    return ConnectError(found or f"{url}: {fault}")


class Client(Protocol):
    """One way to speak to the server. `encode` runs before a phase, `send` during it; both on the event loop's thread."""

    def encode(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        """The prompt as `send` wants it; `context`: token ids that the model reads before the prompt's own."""

    async def prepare(self, streams: int) -> None:
        """Open what so many requests at once will need, so that none pays for it. ConnectError when the server cannot be reached."""

    async def send(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        """Send one request, fill everything of `record` that comes of it, and return when it is over.

        A planned cancellation is CANCELLED with what came until then. The caller counts the attempt and the worker.

        No fault of the request raises: it becomes the record's outcome. Cancelling the call cancels the request on the server,
        fills what had come until then, sets the outcome CANCELLED and raises CancelledError.
        """

    async def switch(self, model: str) -> None:
        """Send what is sent from now on to another model of the server; returns when all that was sent before is over."""

    def renew(self) -> None:
        """Use no stream again that was used so far: the server may keep what has served on it until it is closed."""

    def facts(self) -> dict[str, Any]:
        """What the run should know of the transport, plain JSON: its name, where stamps are from, connections, reconnects, faults."""

    async def close(self) -> None: ...


def request_id(run_id: str, record: RequestRecord) -> str:
    return f"{run_id}-{record.stage}-{'w' if record.warmup else 'm'}{record.index}"
