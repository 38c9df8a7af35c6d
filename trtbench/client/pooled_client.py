"""PooledClient: what clients of one server have in common, which is a pool of streams, and requests that are sent on idle ones."""

from __future__ import annotations

import asyncio
from typing import Any

from trtbench.client.in_flight import InFlight
from trtbench.client.protocol import TOO_LATE, ConnectError, Limits
from trtbench.client.request_outcome import ANSWERED, end
from trtbench.client.transport.connection import TransportError
from trtbench.client.transport.connector import Connector
from trtbench.client.transport.greeting import unreachable
from trtbench.client.transport.kernel_timestamps import KernelStamps, StampsUnavailable
from trtbench.client.transport.pool import Pool, TooManyFilesError
from trtbench.client.transport.read_pacer import open_pacer
from trtbench.client.transport.stream import Stream
from trtbench.client.wire import WireKind
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.system.clock import NS_PER_S, now_ns
from trtbench.system.event_loop import loop_name

_CHECK_S = 1.0
_MOST_REFUSALS = 5  # a request that was refused this often has failed


class PooledClient:
    """Sends each request on an idle stream of its pool. A response costs the event loop one callback and wakes no coroutine."""

    def __init__(self, url: str, path: str, wires: WireKind, settings: ClientSettings, streams_per_connection: int | None) -> None:
        """`url` is host:port, and `path` is what streams are opened to. It needs a running event loop.

        UserError if a file of `settings.tls` cannot be used.
        """
        self._url, self._settings, self._spoken = url, settings, wires.spoken
        self._stamps, self._why_user = _stamps(settings)
        self._pacer = open_pacer(settings) if self._stamps else None
        connector = Connector(url, settings, self._stamps, self._pacer, wires)
        self._pool = Pool(connector, path, streams_per_connection, settings.requests_per_stream)
        self._resent = 0
        self._check_s = min(_CHECK_S, settings.keepalive_s / 4)
        self._loop = asyncio.get_running_loop()
        self._checks = self._loop.call_later(self._check_s, self._check)

    async def open_streams(self, streams: int) -> None:
        try:
            await self._pool.prepare(streams)
        except TooManyFilesError as error:
            raise ConnectError(f"{self._url}: {error}") from error
        except TransportError as error:
            raise await self._unreachable(str(error)) from error

    def renew_streams(self) -> None:
        self._pool.renew()

    def transport_facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "transport": "wire",
            "loop": loop_name(),
            "stamps": "kernel" if self._stamps else "user",
            "stamps_why": self._why_user,
            "requests_resent": self._resent,
        }
        for part in (self._pool, self._stamps, self._pacer):
            facts |= part.facts() if part else {}
        return facts

    async def close(self) -> None:
        self._checks.cancel()
        await self._pool.close()
        if self._pacer:
            self._pacer.close()
        if self._stamps:
            self._stamps.close()

    async def _stream(self, record: RequestRecord, limits: Limits, request_bytes: int, fresh: bool) -> Stream | None:
        """A stream to send on, unused if `fresh` is set; None, with the reason in the record, if none becomes free in time."""
        try:
            while (left_ns := limits.deadline_ns - now_ns()) > 0:
                if stream := self._pool.ready_stream(request_bytes, fresh):
                    return stream
                await asyncio.wait_for(self._pool.more_room(), left_ns / NS_PER_S)
            end(record, Outcome.TIMEOUT, TOO_LATE)
        except TransportError as error:
            end(record, Outcome.CONNECTION, str(error))
        except asyncio.TimeoutError:  # not an OSError before Python 3.11
            end(record, Outcome.TIMEOUT, TOO_LATE)
        except asyncio.CancelledError:
            end(record, Outcome.CANCELLED, "cancelled by the client")
            raise
        return None

    def _check(self) -> None:
        if self._stamps:
            self._stamps.check()
        self._pool.check(now_ns())
        self._checks = self._loop.call_later(self._check_s, self._check)

    async def _unreachable(self, fault: str) -> ConnectError:
        """The error of a server to which no connection can be opened, by what answers there now."""
        return await unreachable(self._url, self._spoken, self._settings, fault)

    async def _exchange(self, record: RequestRecord, message: bytes, limits: Limits, exchange: InFlight) -> None:
        """Send a request on an idle stream and return when it is over. It is sent again if the server certainly did not process it."""
        for _ in range(_MOST_REFUSALS):
            stream = await self._stream(record, limits, len(message), exchange.unsent)
            if stream is None:
                return
            exchange.served = stream.wear.served
            exchange.start_on(stream, message)
            try:
                await exchange.over
            except asyncio.CancelledError:
                exchange.give_up(Outcome.CANCELLED, "cancelled by the client")
                raise
            finally:
                if record.outcome in ANSWERED and not exchange.ends_stream:
                    self._pool.keep(stream, record.model_version, record.sent_ns or 0, len(message))
            if exchange.cut_off:
                self._pool.cut_off(stream)
            if not exchange.refused and not exchange.unsent:
                return
            self._resent += 1
            record.attempts += exchange.unsent  # the caller counts the last attempt


def _stamps(settings: ClientSettings) -> tuple[KernelStamps | None, str]:
    """The kernel's timestamps, or the reason why there are none."""
    if not settings.kernel_stamps:
        return None, "client.kernel_stamps is false"
    try:
        return KernelStamps.open(), ""
    except StampsUnavailable as error:
        return None, str(error)
