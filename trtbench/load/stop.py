"""StopSignal: how a running phase is told to end before its time."""

from __future__ import annotations

import asyncio
from typing import Literal

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
