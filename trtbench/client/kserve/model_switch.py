"""ModelSwitch: sends the requests of a running load to another model, as a hot reload needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tritonclient.grpc import service_pb2


class ModelSwitch:
    """Changes the model of requests that are already serialised.

    If a field occurs twice in a protobuf message, the last value counts; so another model's name is appended to the request.
    """

    def __init__(self) -> None:
        self._to_model = b""  # nothing is appended while requests go to the target's own model
        self._in_flight = _InFlight()

    @contextmanager
    def in_flight(self) -> Iterator[bytes]:
        """Surrounds one request from before its sending to its end; yields what is appended to it."""
        group = self._in_flight
        group.enter()
        try:
            yield self._to_model
        finally:
            group.leave()

    async def switch_model(self, model: str) -> None:
        """Send requests that begin from now on to `model`; returns when those that began before are over."""
        before, self._in_flight = self._in_flight, _InFlight()
        self._to_model = service_pb2.ModelInferRequest(model_name=model).SerializeToString()
        await before.over()


class _InFlight:
    """Counts the requests in flight that began before the next switch."""

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
