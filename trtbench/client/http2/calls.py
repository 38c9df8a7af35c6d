"""Calls: the open streams of one HTTP/2 connection. Each is one gRPC call; its frames are turned into events of the connection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple

from trtbench import __version__
from trtbench.client.http2 import frames
from trtbench.client.http2.frames import ErrorCode, WireError, error_name
from trtbench.client.http2.grpc_wire import Deframer, StreamFault, header_status, is_grpc, reset_status
from trtbench.client.http2.outbox import Outbox
from trtbench.client.wire import PeerLeaving, PeerReady, StreamEnded


@dataclass(frozen=True, slots=True)
class GoAway(PeerLeaving):
    """The peer accepts no further stream. Streams above `last_stream_id` end with the next events; the others may continue."""

    last_stream_id: int
    code: int  # of HTTP/2
    debug: str

    @property
    def reason(self) -> str:
        return f"GOAWAY {error_name(self.code)} {self.debug}".rstrip()


@dataclass(frozen=True, slots=True)
class SettingsReceived(PeerReady):
    max_concurrent_streams: int | None  # None: no limit


@dataclass(frozen=True, slots=True)
class Pong:
    payload: bytes


Event = tuple[int, bytes] | StreamEnded | GoAway | SettingsReceived | Pong
"""A message is the tuple (stream id, its bytes), so that a response on the hot path costs no further object."""


Metadata = tuple[tuple[str, str], ...]
LAST_STREAM_ID = (1 << 31) - 1


class Calls:
    """The open calls of a connection. A call ends with a StreamEnded, or without one if the client resets it.

    What still arrives for an ended call is dropped, but counted, because flow control has to return its bytes to the peer."""

    __slots__ = ("_closed_bytes", "_decoder", "_max_message_bytes", "_outbox", "next_id", "open")

    def __init__(self, outbox: Outbox, max_message_bytes: int) -> None:
        self.open: dict[int, Deframer] = {}
        self.next_id = 1
        self._outbox = outbox
        self._max_message_bytes = max_message_bytes
        self._decoder = Decoder(frames.MAX_HEADER_BLOCK_BYTES)
        self._closed_bytes = 0  # flow-controlled bytes that arrived for ended streams and were not yet returned to the peer

    def begin(self, scheme: str, authority: str, path: str, metadata: Metadata) -> int:
        stream_id = self.next_id
        self.next_id += 2
        self.open[stream_id] = Deframer()
        self._outbox.open(stream_id)
        block = _request_block(scheme, authority, path, metadata)
        self._outbox.write(frames.frame(frames.HEADERS, stream_id, block, frames.END_HEADERS))
        return stream_id

    def forget(self, stream_id: int, reset: ErrorCode | None) -> None:
        """Drop a call; with `reset`, send RST_STREAM with this code to the peer."""
        self._closed_bytes += self.open.pop(stream_id).received_bytes
        self._outbox.close(stream_id)
        if reset is not None:
            self._outbox.write(frames.rst_stream(stream_id, reset))

    def fail(self, stream_id: int, fault: StreamFault, events: list[Event]) -> None:
        self.forget(stream_id, fault.reset)
        events.append(StreamEnded(stream_id, fault.status, str(fault)))

    def find(self, stream_id: int) -> Deframer | None:
        """The call of a stream, or None if it is over; WireError for a stream that was never opened."""
        if not stream_id % 2 or stream_id >= self.next_id:
            raise WireError(ErrorCode.PROTOCOL_ERROR, f"a frame on stream {stream_id}, which was never opened")
        return self.open.get(stream_id)

    def data(self, stream_id: int, flags: int, payload: bytes, events: list[Event]) -> None:
        call = self.find(stream_id)
        if call is None:
            self._closed_bytes += len(payload)
            return
        call.received_bytes += len(payload)
        call.take_data(stream_id, frames.unpadded(flags, payload), self._max_message_bytes, events)
        if flags & frames.END_STREAM:
            self._end(stream_id, "UNKNOWN", "no grpc-status: the stream ended with DATA", events)

    def headers(self, stream_id: int, flags: int, block: bytes, events: list[Event]) -> None:
        """Response headers or trailers. Blocks of ended streams are decoded too, because HPACK makes later blocks depend on them."""
        try:
            headers = {bytes(name): bytes(value) for name, value in self._decoder.decode(block, raw=True)}
        except HPACKError as error:
            raise WireError(ErrorCode.COMPRESSION_ERROR, f"HPACK: {error}") from error
        call = self.find(stream_id)
        if call is None:
            return
        if flags & frames.END_STREAM:
            status, message = header_status(headers)
            if status == "OK" and call.held_bytes:
                status, message = "INTERNAL", f"the stream ended {call.held_bytes} bytes into a message"
            self._end(stream_id, status, message, events)
        elif call.answered:
            raise StreamFault("INTERNAL", "HEADERS between the messages", ErrorCode.PROTOCOL_ERROR)
        elif is_grpc(headers):
            call.answered = call.fresh = True
        elif not headers.get(b":status", b"").startswith(b"1"):  # the answer itself follows a status 1xx
            raise StreamFault(*header_status(headers), ErrorCode.CANCEL)

    def reset(self, stream_id: int, code: int, events: list[Event]) -> None:
        """The peer's RST_STREAM."""
        if self.find(stream_id) is not None:
            unsent = self._outbox.holds(stream_id)
            self.forget(stream_id, None)
            status, message = reset_status(code)
            events.append(StreamEnded(stream_id, status, message, code == ErrorCode.REFUSED_STREAM, unsent))

    def grant(self, stream_id: int, increment: int) -> None:
        """The peer's WINDOW_UPDATE of a stream, or of the connection if `stream_id` is 0."""
        if stream_id and self.find(stream_id) is None:
            return
        code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
        if not increment or not self._outbox.grant(stream_id, increment):
            text = f"WINDOW_UPDATE of {increment} bytes on stream {stream_id}"
            raise StreamFault("INTERNAL", text, code) if stream_id else WireError(code, text)

    def refuse_above(self, last_stream_id: int, code: int, debug: str, events: list[Event]) -> None:
        """End the calls that the peer never processed according to its GOAWAY."""
        reason = f"GOAWAY with {error_name(code)}" + (f": {debug}" if debug else "")
        for stream_id in [found for found in self.open if found > last_stream_id]:
            self.forget(stream_id, None)
            events.append(StreamEnded(stream_id, "UNAVAILABLE", reason, retry_safe=True))

    def top_up(self) -> None:
        """Return all received bytes to the peer, which opens every receive window to its full size again."""
        total = self._closed_bytes
        self._closed_bytes = 0
        for stream_id, call in self.open.items():
            if call.received_bytes:
                self._outbox.write(frames.window_update(stream_id, call.received_bytes))
                total += call.received_bytes
                call.received_bytes = 0
        if total:
            self._outbox.write(frames.window_update(0, total))

    def _end(self, stream_id: int, status: str, message: str, events: list[Event]) -> None:
        """End a call after the peer's last frame. If the client had not ended its side, it resets the stream without an error."""
        unsent = self._outbox.holds(stream_id)
        unfinished = self._outbox.close(stream_id)
        self.forget(stream_id, ErrorCode.NO_ERROR if unfinished else None)
        events.append(StreamEnded(stream_id, status, message, unsent=unsent))


@lru_cache(maxsize=256)
def _request_block(scheme: str, authority: str, path: str, metadata: Metadata) -> bytes:
    """The header block of a request. It first sets HPACK's dynamic table to size 0, so that it is valid at any point of a connection.

    `metadata` may be secret, so it is marked as never indexed, which keeps proxies from storing it in their tables.
    """
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode(
        [
            (":method", "POST"),
            (":scheme", scheme),
            (":path", path),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", f"trtbench/{__version__}"),
            ("grpc-accept-encoding", "identity"),
            *(NeverIndexedHeaderTuple(name, value) for name, value in metadata),
        ]
    )
