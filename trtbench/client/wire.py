"""Wire: what a connection needs of a protocol. Bytes go in, events come out; a wire has no socket and no clock.

HTTP/2 and HTTP/1.1 each have a wire, so that one transport, with its timestamps, TLS and pool, serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The last event of a stream. `status` is the name of the gRPC code, or "OK" and otherwise the status of HTTP, as "HTTP 429".

    `retry_safe`: the server certainly never processed the request. `unsent`: part of it was not sent yet. `retry_after_s` is how long the
    server asks to wait, or None.
    """

    stream_id: int
    status: str
    message: str
    retry_safe: bool = False
    unsent: bool = False
    retry_after_s: float | None = None


class PeerReady:
    """The peer accepts requests from now on."""

    __slots__ = ()


class PeerLeaving:
    """The peer accepts no further stream, and the connection is closed when the open ones have ended. `reason` is for messages."""

    __slots__ = ()

    @property
    def reason(self) -> str:
        raise NotImplementedError


class WireFault(Exception):
    """What the peer sent violates the protocol, so the connection has failed. `cause` is for messages.

    `events` are the events before the violation in the bytes given to `receive`, which could not return them.
    """

    events: Sequence[Any] = ()

    @property
    def cause(self) -> str:
        raise NotImplementedError


class Wire(Protocol):
    """The client's side of one connection. After every call the bytes of `take_output` have to be sent.

    An event is a message as the tuple (stream id, its bytes), so that a response on the hot path costs no further object; or a StreamEnded,
    PeerReady or PeerLeaving; anything else is the answer to a ping.
    """

    @property
    def can_open(self) -> bool:
        """Whether a further stream can be opened now."""

    @property
    def is_over(self) -> bool:
        """Whether the connection carries nothing more, so that it has to be closed."""

    def open_stream(self, path: str) -> int:
        """Begin a stream to `path`; returns its id."""

    def send_message(self, stream_id: int, message: bytes, end_stream: bool = False) -> None: ...

    def end(self, stream_id: int) -> None:
        """End the client's side of a stream."""

    def reset(self, stream_id: int) -> None:
        """Cancel a stream; no further event of it follows."""

    def ping(self) -> None:
        """Have the peer answer, if the protocol can."""

    def take_output(self) -> bytes:
        """Everything that may be sent now."""

    def replied(self, all_sent: bool) -> bool:
        """Whether the peer reads the replies that it requires, after the output was handed to the socket; `all_sent`: and sent."""

    def receive(self, data: bytes | memoryview) -> Sequence[Any]:
        """The events in the peer's next bytes, which may be cut anywhere; WireFault if they violate the protocol."""

    def receive_end(self, in_order: bool, crossed: bool) -> Sequence[Any]:
        """The events of the end of the connection, by the peer. `in_order`: it closed it, and did not reset it. `crossed`: the last
        message was sent so shortly before that the peer may have closed the connection without it."""

    def between_messages(self, stream_id: int) -> bool:
        """Whether the peer's next byte begins a message of this stream, so that whole reads may bypass `receive`."""

    def count_bypassed(self, stream_id: int, flow_bytes: int) -> None:
        """Count what a DirectRead has read, in flow control."""


class DirectRead(Protocol):
    """Handles reads that contain exactly the next message of one stream, which then bypass the wire."""

    stream_id: int

    @property
    def flow_bytes(self) -> int:
        """The flow-controlled bytes that were read here."""

    def take_read(self, data: bytearray, size: int, arrived_ns: int, lag_ns: int | None) -> bool:
        """Record the first `size` bytes of `data` if they are such a read; returns whether they are.

        `lag_ns` is None without kernel timestamps."""


@dataclass(frozen=True)
class Spoken:
    """What a server has to speak, and the words of messages about one that does not."""

    protocol: Literal["http2", "http1"]
    version: str
    """The protocol for messages, as "HTTP/2"."""
    service: str
    """What users know it by, as "gRPC"."""
    alpn: str
    """What TLS is asked to negotiate."""
    alpn_required: bool
    """Whether a server that negotiates nothing cannot speak it."""
    port: str
    """What to do if something else answers, as "give the gRPC port in --url"."""
    default_port: str
    """What to do if nothing answers."""
    with_tls: str
    """The remedy if the server wants TLS."""
    without_tls: str
    """The remedy if the server speaks without TLS."""


@dataclass(frozen=True)
class WireKind:
    """A protocol, as the connector opens it."""

    spoken: Spoken
    pings: bool
    """Whether a wire can have the peer answer; otherwise the kernel probes silent connections."""
    open: Callable[[str, str], Wire]
    """Makes a wire of the server's authority (host:port) and the scheme, "http" or "https"."""
