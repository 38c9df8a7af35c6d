"""Requests over HTTP/1.1 without a client of an API: each keeps the messages of its answer."""

from __future__ import annotations

import socket
from typing import NamedTuple

from tests.support.asking import LATER_NS, new_record
from trtbench.client.http1.http_wire import Headers, http_wires
from trtbench.client.in_flight import InFlight
from trtbench.client.pooled_client import PooledClient
from trtbench.client.protocol import Limits
from trtbench.client.request_outcome import end
from trtbench.client.wire import StreamEnded
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.system.clock import now_ns

PATH = "/v1/completions"


class Arrival(NamedTuple):
    message: bytes
    arrived_ns: int
    lag_ns: int | None
    alone: bool


class HttpExchange(InFlight):
    """A request that is completed by the end of its answer."""

    ends_stream = True

    def __init__(self, record: RequestRecord, limits: Limits) -> None:
        super().__init__(record, limits)
        self.arrivals: list[Arrival] = []
        self.end: StreamEnded | None = None

    def take_message(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        self.arrivals.append(Arrival(message, arrived_ns, lag_ns, alone))

    def stream_ended(self, stream_end: StreamEnded) -> None:
        self.end = stream_end
        if stream_end.status == "OK":
            end(self._record, Outcome.COMPLETED, "")
        else:
            self._end_unanswered(stream_end, bool(self.arrivals))
        self._finish()


class HttpClient(PooledClient):
    """Sends to one server. It needs a running event loop."""

    def __init__(self, url: str, settings: ClientSettings | None = None, headers: Headers = ()) -> None:
        settings = settings or ClientSettings()
        wires = http_wires(headers, most_requests=settings.requests_per_stream)
        super().__init__(url, PATH, wires, settings, streams_per_connection=1)

    async def ask(self, body: bytes = b"{}", limits: Limits | None = None) -> tuple[RequestRecord, HttpExchange]:
        record, limits = new_record(), limits or Limits(now_ns() + LATER_NS)
        exchange = HttpExchange(record, limits)
        await self._exchange(record, body, limits, exchange)
        return record, exchange


def read_request(connected: socket.socket) -> bytes:
    """The body of the next request; ConnectionError if the client closes the connection first."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connected)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))[15:])
    while len(body) < length:
        body += _some(connected)
    return body


def _some(connected: socket.socket) -> bytes:
    part = connected.recv(65536)
    if not part:
        raise ConnectionError
    return part
