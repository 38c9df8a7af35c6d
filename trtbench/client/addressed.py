"""Which model of the server requests go to, and whether those to the one before are over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tritonclient.grpc import service_pb2


class Addressed:
    """Requests are serialised before a phase; a field of protobuf that stands twice has its last value, so a name is put behind."""

    def __init__(self) -> None:
        self._to_model = b""  # as serialised: the target's own
        self._in_flight = _InFlight()

    @contextmanager
    def one(self) -> Iterator[bytes]:
        """A request from before its sending to its end; yields what is put behind it."""
        among = self._in_flight
        among.enter()
        try:
            yield self._to_model
        finally:
            among.leave()

    async def switch(self, model: str) -> None:
        """Requests that begin from now on go to `model`; returns when those that began before are over."""
        before, self._in_flight = self._in_flight, _InFlight()
        self._to_model = service_pb2.ModelInferRequest(model_name=model).SerializeToString()
        await before.over()


class _InFlight:
    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def enter(self) -> None:
        self._count += 1
        self._none.clear()

    def leave(self) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    async def over(self) -> None:
        await self._none.wait()
