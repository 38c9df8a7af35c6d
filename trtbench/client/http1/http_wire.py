"""HttpWire: the client's side of one HTTP/1.1 connection, with one request at a time. Bytes go in, events come out; no socket, no clock."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from trtbench import __version__
from trtbench.client.http1.event_chunks import take_event_chunks
from trtbench.client.http1.http_answer import Answer, HttpFault
from trtbench.client.wire import PeerReady, Spoken, StreamEnded, WireKind

MAX_MESSAGE_BYTES = 1 << 24
"""The longest event, and the longest body of an answer that is not streamed."""
Headers = tuple[tuple[str, str], ...]
"""Names in lower case, and values, which are printable ASCII (`metadata_of` checks them)."""

_TARGET = re.compile(r"/[\x21-\x22\x24-\x7e]*")  # printable, and no fragment
_EVENT_CHUNK_END = b"\n\n\r\n"


class HttpWire:
    """A Wire of HTTP/1.1. Each stream is one request, a POST, and ends with its answer; the next request has a new stream.

    A connection is over after a cancelled request, and after an answer that was faulty or that the server ends by closing the connection.
    """

    __slots__ = (
        "_answer",
        "_authority",
        "_between_chunks",
        "_head",
        "_headers",
        "_most_bytes",
        "_most_requests",
        "_open_id",
        "_output",
        "_ready",
        "_served",
        "is_over",
    )

    def __init__(
        self, authority: str, headers: Headers = (), most_bytes: int = MAX_MESSAGE_BYTES, most_requests: int | None = None
    ) -> None:
        """`authority` is host:port of the server, `headers` are further ones of every request. A message longer than `most_bytes` ends its
        answer, and `most_requests` the connection."""
        self._authority, self._headers = authority, headers
        self._most_bytes, self._most_requests = most_bytes, most_requests
        self._head = self._output = b""
        self._answer: Answer | None = None
        self._open_id = self._served = 0
        self._between_chunks = self._ready = self.is_over = False

    @property
    def can_open(self) -> bool:
        return not self._open_id and not self.is_over

    def open_stream(self, path: str) -> int:
        """Begin a request to `path`, the target with its query; ValueError if that cannot be one, HttpFault if `can_open` is False."""
        if not self.can_open:
            raise HttpFault("the connection takes one request at a time")
        self._head = _request_head(self._authority, path, self._headers)
        self._open_id = self._served + 1
        return self._open_id

    def send_message(self, stream_id: int, message: bytes, end_stream: bool = False) -> None:
        """Send the request with `message` as its body. It is the only message of its stream, whatever `end_stream` is."""
        if stream_id != self._open_id or self._answer:
            raise HttpFault(f"stream {stream_id} takes no further message")
        self._output += b"%s%d\r\n\r\n%s" % (self._head, len(message), message)
        self._answer = Answer(stream_id, self._most_bytes)

    def end(self, stream_id: int) -> None:
        """Give the connection up."""
        self.is_over = True

    def reset(self, stream_id: int) -> None:
        """Give the connection up, if its answer is still to come: HTTP/1.1 has no other way to cancel a request."""
        if stream_id == self._open_id:
            if self._answer:
                self._answer.release()
            self.is_over, self._open_id, self._answer = True, 0, None

    def ping(self) -> None:
        """Nothing: HTTP/1.1 has no PING, so the kernel probes silent connections (see Connector)."""

    def take_output(self) -> bytes:
        output, self._output = self._output, b""
        return output

    def replied(self, all_sent: bool) -> bool:
        return True  # the protocol requires no replies

    def between_messages(self, stream_id: int) -> bool:
        return self._between_chunks

    def count_bypassed(self, stream_id: int, flow_bytes: int) -> None:
        """Nothing: HTTP/1.1 has no flow control of its own."""

    def receive(self, data: bytes | memoryview) -> list[Any]:
        """The events in the server's next bytes, which may be cut anywhere; HttpFault if they are not HTTP/1.1 or answer no request."""
        if type(data) is not bytes:
            data = bytes(data)
        answer = self._answer
        if answer is None:
            return self._receive_unasked(data)
        if self._between_chunks and len(data) <= self._most_bytes:
            events, data = take_event_chunks(self._open_id, data)
            if not data:
                return events
            answer.messages = events
        try:
            answer.feed(data)
        except HttpFault as fault:
            self.is_over = True
            fault.events = self._take_events(answer)
            raise
        self._between_chunks = data.endswith(_EVENT_CHUNK_END) and answer.between_chunks
        return self._take_events(answer)

    def receive_end(self, in_order: bool, crossed: bool) -> list[Any]:
        """A server that closed an idle connection, which a request `crossed` on the way, has not processed it."""
        self.is_over = True
        answer = self._answer
        if answer is None:
            return []
        if in_order:
            answer.finish()
        if crossed and self._served and not answer.begun:
            cause = "connection closed by the server, which had been idle, just as the request was sent"
            answer.end = StreamEnded(self._open_id, "UNAVAILABLE", cause, retry_safe=True)
        return self._take_events(answer)

    def _receive_unasked(self, data: bytes) -> list[Any]:
        if data:
            self.is_over = True
            raise HttpFault("the server sends bytes that answer no request")
        ready, self._ready = self._ready, True
        return [] if ready else [PeerReady()]

    def _take_events(self, answer: Answer) -> list[Any]:
        """The messages, and the end of the stream if its answer has ended."""
        events: list[Any] = answer.messages
        answer.messages = []
        if answer.end:
            events.append(answer.end)
            self._answer, self._open_id, self._between_chunks = None, 0, False
            self._served += 1
            self.is_over = self.is_over or not answer.keeps_alive or self._served == self._most_requests
        if answer.end or self.is_over:
            answer.release()
        return events


@lru_cache(maxsize=256)
def _request_head(authority: str, target: str, headers: Headers) -> bytes:
    """A POST of JSON to `target`, a path with its query, up to the number of bytes of the body, which is still to be added.

    Answers are asked for uncompressed: a compressed stream of events would be held back until there is enough to compress. ValueError if
    `target` cannot be sent.
    """
    if not _TARGET.fullmatch(target):
        raise ValueError(f"{target[:200]!r} is not the path of a request: it begins with / and has printable ASCII without blanks and #")
    fields = {
        "host": authority if authority.isascii() else authority.encode("idna").decode(),
        "user-agent": f"trtbench/{__version__}",
        "accept": "application/json, text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
        **dict(headers),
    }
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "content-length: "]
    return "\r\n".join(lines).encode("ascii")


HTTP = Spoken(
    protocol="http1",
    version="HTTP/1.1",
    service="HTTP",
    alpn="http/1.1",
    alpn_required=False,
    port="give the HTTP port in --url (8000 by default for vLLM, trtllm-serve and Triton; Triton's 8001 is gRPC: --endpoint-type kserve)",
    default_port="correct --url (vLLM, trtllm-serve and Triton listen on port 8000 by default)",
    with_tls="write https:// in --url (client.tls), with --tls-ca for certificates of a private authority",
    without_tls="write http:// in --url (leave out client.tls)",
)


def http_wires(headers: Headers = (), max_message_bytes: int = MAX_MESSAGE_BYTES, most_requests: int | None = None) -> WireKind:
    """HTTP/1.1, for a Connector; see HttpWire for the parameters."""
    return WireKind(HTTP, pings=False, open=lambda authority, scheme: HttpWire(authority, headers, max_message_bytes, most_requests))
