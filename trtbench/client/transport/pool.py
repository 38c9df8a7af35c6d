"""Pool: the streams that requests are sent on, distributed over connections."""

from __future__ import annotations

import asyncio
import math
import resource
from pathlib import Path
from typing import Any

from trtbench.client.transport.connection import Connection, TransportError
from trtbench.client.transport.connector import Connector
from trtbench.client.transport.stream import MOST_BYTES, ServedVersion, Stream
from trtbench.scenario.load.client_settings import ClientSettings

_FEW_STREAMS, _MOST_STREAMS = 1, 8
_MANY = 4_000
"""The number of streams of a process up to which each has its own connection, which makes its timestamps exact."""
_CONNECTS_AT_ONCE = 32
SPARE_FILES = 64  # for everything else that a process opens


class TooManyFilesError(TransportError):
    """This machine's limit of open files is too low."""


class Pool:
    """Streams for requests. A stream whose request completed carries the next one, the last used stream first, until it has carried as much
    as a proxy may allow (`Wear`) or `requests_per_stream`. After any other end of a request its stream is dropped.

    Streams are reused because opening one takes client and server about a millisecond. In that time an engine can begin a step without the
    request, which a closed loop would measure as latency of the server.

    A stream carries requests to one version of a model only, because Triton keeps a replaced version in memory while a stream that used it
    is open.
    """

    def __init__(self, connector: Connector, path: str, streams_per_connection: int | None, requests_per_stream: int | None = None) -> None:
        """Streams call the gRPC method `path`. `streams_per_connection` None chooses by the number of streams."""
        self._connector, self._path, self._asked = connector, path, streams_per_connection
        self._requests_per_stream, self._most_bytes = requests_per_stream, MOST_BYTES
        self._connections: set[Connection] = set()
        self._roomy: dict[Connection, None] = {}  # an ordered set of connections that may have room, the newest last
        self._idle: list[Stream] = []
        self._openings: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Task[None] | None = None
        self._claims = 0  # the number of callers that wait for `_opening`
        self._prepared = 0
        self._opened = self._lost = self._renewals = self._retired = 0
        self._served = ServedVersion()
        self._last_loss = ""
        self._closed = False

    def ready_stream(self, request_bytes: int = 0, fresh: bool = False) -> Stream | None:
        """An idle stream that a request of `request_bytes` can be sent on now; None if another connection has to be opened first.

        `fresh`: preferably one that has served no request.
        """
        if fresh:
            return self._new_stream() or self._idle_stream(request_bytes)
        return self._idle_stream(request_bytes) or self._new_stream()

    async def more_room(self) -> None:
        """Wait for a new connection, which serves as many callers as it has room for; `ready_stream` may find a stream then.

        TransportError if it cannot be opened."""
        if self._opening is None or self._opening.done() or self._claims >= self._per_connection:
            self._opening, self._claims = asyncio.create_task(self._open()), 0
            self._openings.add(self._opening)
            self._opening.add_done_callback(self._opening_done)
        self._claims += 1
        await asyncio.shield(self._opening)

    def keep(self, stream: Stream, version: str, sent_ns: int, request_bytes: int = 0) -> None:
        """Keep a stream for the next request. A `version` of the model completed its last one, of `request_bytes` and sent at `sent_ns`."""
        stream.wear.answered(request_bytes)
        if stream.wear.allows(request_bytes, self._requests_per_stream, self._most_bytes):
            self._idle.append(stream)
        else:
            self._retire(stream)
            if successor := self._new_stream():
                successor[0].flush()  # opens it before the next request needs it
                self._idle.append(successor)
        if self._served.replaced_by(version, sent_ns):
            self.renew()

    def cut_off(self, stream: Stream) -> None:
        """The server or a proxy ended a stream during a further request, so no stream carries as much as this one from now on."""
        self._most_bytes = min(self._most_bytes, stream.wear.sent_bytes)

    def renew(self) -> None:
        """Close every stream, those in use when their request is over, and open as many new ones."""
        idle, self._idle = len(self._idle), []
        for connection in list(self._connections):
            connection.retire_streams()
        self._renewals += 1
        self._open_ahead(sum(connection.streams for connection in self._connections) + idle)

    async def prepare(self, streams: int) -> None:
        """Open idle streams until there are `streams`; TransportError if that fails."""
        self._prepared = streams
        self._roomy.update(dict.fromkeys(self._connections))  # the number of streams may now allow more on each
        missing_before = streams + 1
        while missing := self._open_ahead(streams):
            if missing >= missing_before:
                raise TransportError(f"connections are lost as fast as they are opened: {self._last_loss}")
            missing_before, connections = missing, math.ceil(missing / self._per_connection)
            _check_files(connections)
            await self._open_many(connections)

    def check(self, instant_ns: int) -> None:
        """Check silent connections; to be called about once a second."""
        for connection in list(self._connections):
            connection.check(instant_ns)

    async def close(self) -> None:
        self._closed = True
        for opening in self._openings:
            opening.cancel()
        await asyncio.gather(*self._openings, return_exceptions=True)
        for connection in list(self._connections):
            connection.lose("closed by the client")

    def facts(self) -> dict[str, Any]:
        return {
            "connections": len(self._connections),
            "connections_opened": self._opened,
            "connections_lost": self._lost,
            "last_loss": self._last_loss,
            "streams_renewed": self._renewals,
            "streams_retired": self._retired,
            "streams_per_connection": self._per_connection,
        }

    @property
    def _per_connection(self) -> int:
        return streams_per_connection(self._asked, max(self._prepared, len(self._connections)))

    def _idle_stream(self, request_bytes: int) -> Stream | None:
        """The idle stream that was used last, if the server keeps it open and it may carry the request."""
        while self._idle:
            stream = self._idle.pop()
            connection, stream_id = stream
            if connection.is_idle(stream_id):
                if stream.wear.allows(request_bytes, self._requests_per_stream, self._most_bytes):
                    return stream
                self._retire(stream)
        return None

    def _retire(self, stream: Stream) -> None:
        connection, stream_id = stream
        if connection.is_idle(stream_id):
            connection.close_stream(stream_id)
            self._retired += 1

    def _new_stream(self) -> Stream | None:
        """A new stream on a connection with room, or None."""
        most = self._per_connection
        while self._roomy:
            connection = next(reversed(self._roomy))
            if connection.room(most):
                return Stream.opened(connection, connection.open_stream(self._path))
            del self._roomy[connection]
        return None

    def _opening_done(self, opening: asyncio.Task[None]) -> None:
        self._openings.discard(opening)
        if not opening.cancelled():
            opening.exception()  # retrieved here, because the callers that wait for it may all be gone

    async def _open(self) -> None:
        connection = await self._connector.connect(self._freed)
        self._connections.add(connection)
        self._roomy[connection] = None
        self._opened += 1

    async def _open_many(self, connections: int) -> None:
        """Open connections, a limited number at a time, because a server's queue of new connections is short."""
        left = iter(range(connections))

        async def some() -> None:
            for _ in left:
                await self._open()

        openings = [asyncio.ensure_future(some()) for _ in range(min(connections, _CONNECTS_AT_ONCE))]
        try:
            await asyncio.gather(*openings)
        finally:
            for opening in openings:
                opening.cancel()

    def _open_ahead(self, streams: int) -> int:
        """Open idle streams on connections with room; returns how many of `streams` are missing then."""
        missing = streams - sum(connection.streams for connection in self._connections)
        while missing > 0 and (stream := self._new_stream()):
            stream[0].flush()
            self._idle.append(stream)
            missing -= 1
        return max(missing, 0)

    def _freed(self, connection: Connection) -> None:
        if not connection.cause:
            self._roomy[connection] = None
        elif connection in self._connections:
            self._connections.discard(connection)
            self._roomy.pop(connection, None)
            if connection.failed and not self._closed:
                self._lost += 1
                self._last_loss = connection.cause


def streams_per_connection(asked: int | None, streams: int) -> int:
    """The requested number, else the one that suits a process with `streams` concurrent streams."""
    return asked or (_FEW_STREAMS if streams <= _MANY else _MOST_STREAMS)


def open_files(settings: ClientSettings, streams: int) -> int:
    """The number of files that a process with `streams` concurrent streams has open."""
    return math.ceil(streams / streams_per_connection(settings.streams_per_connection, streams)) + SPARE_FILES


def _check_files(connections: int) -> None:
    """Raise the soft limit of open files as far as needed; TooManyFilesError if the hard limit is too low for `connections` more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = len(list(Path("/dev/fd").iterdir())) + connections + SPARE_FILES
    if resource.RLIM_INFINITY != hard < needed:
        raise TooManyFilesError(
            f"{connections} more connections need {needed} open files, the limit is {hard} (RLIMIT_NOFILE): "
            f"raise it (`ulimit -n {needed}`), set client.streams_per_connection higher, or use more client.workers"
        )
    if resource.RLIM_INFINITY != soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
