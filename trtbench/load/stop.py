"""StopSignal: how a running load is told to end before its time."""

from __future__ import annotations

import asyncio
from typing import Literal

StopReason = Literal["interrupted", "server_lost"]


class StopSignal:
    """Asked from outside on the event loop's thread: an interrupt drains, a second one or a lost server cancels at once."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self._draining = asyncio.Event()
        self._cancelling = asyncio.Event()

    def interrupt(self) -> None:
        """Send nothing more and wait for what is in flight; the second time, cancel that too."""
        if self._draining.is_set():
            self._cancelling.set()
        self.reason = self.reason or "interrupted"
        self._draining.set()

    def server_lost(self) -> None:
        """The server is gone: nothing in flight can come back."""
        self.reason = "server_lost"
        self._draining.set()
        self._cancelling.set()

    @property
    def is_set(self) -> bool:
        return self._draining.is_set()

    async def wait_draining(self) -> None:
        await self._draining.wait()

    async def wait_cancelling(self) -> None:
        await self._cancelling.wait()
