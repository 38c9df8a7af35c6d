"""The server side of one HTTP/2 connection that carries gRPC, for the replay server: bytes in, requests out; no socket.

Only what well-behaved clients send (RFC 9113); anything else ends the connection. Written apart from load/wire.py on purpose: each
is a check on the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from hpack import Decoder, HPACKError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_BYTES = 9
GRPC_PREFIX_BYTES = 5

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 1, 1, 4, 8, 32
_INITIAL_WINDOW_SIZE = 4  # SETTINGS parameter
_DEFAULT_WINDOW = 65_535
_OUR_WINDOW = 1 << 30
_TOP_UP = 1 << 20  # give a window back in steps of this: a request is small

_RESPONSE_HEADERS = b"\x88" + b"\x0f\x10\x10application/grpc"  # :status 200 (static table), content-type (its name too) as a literal


class ProtocolError(Exception):
    """The client sent what this server does not take."""


class Request(NamedTuple):
    stream_id: int
    message: bytes


class HalfClosed(NamedTuple):
    """The client sends nothing more on this stream."""

    stream_id: int


class WindowsGrew(NamedTuple):
    """What flow control had held back may go on."""


Event = Request | HalfClosed | WindowsGrew


@dataclass(slots=True)
class Stream:
    """`answered` (its headers are out) and `requests_open` are the server's: a stream ends when half-closed and all is answered."""

    path: str
    window: int
    partial: bytearray = field(default_factory=bytearray)
    received_bytes: int = 0
    half_closed: bool = False
    answered: bool = False
    requests_open: int = 0


class ServerConnection:
    """`control` holds bytes of ours that must go out before anything else; whoever sends them empties it."""

    def __init__(self) -> None:
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _OUR_WINDOW)
        self.control = bytearray(frame(_SETTINGS, 0, 0, settings) + _window_update(0, _OUR_WINDOW - _DEFAULT_WINDOW))
        self.streams: dict[int, Stream] = {}
        self._window = self._initial_window = _DEFAULT_WINDOW
        self._decoder = Decoder()
        self._received = bytearray()
        self._received_bytes = 0
        self._preface_missing = True
        self._header_block = b""

    def take_window(self, stream_id: int, size: int) -> bool:
        """Whether `size` bytes of DATA may be sent now; they count as sent if so."""
        stream = self.streams[stream_id]
        if size > self._window or size > stream.window:
            return False
        self._window -= size
        stream.window -= size
        return True

    def receive(self, data: bytes) -> Iterator[Event]:
        """ProtocolError ends the connection."""
        self._received += data
        if self._preface_missing:
            if len(self._received) < len(PREFACE):
                return
            if not self._received.startswith(PREFACE):
                raise ProtocolError("no HTTP/2 preface")
            del self._received[: len(PREFACE)]
            self._preface_missing = False
        place = 0
        while len(self._received) - place >= FRAME_HEADER_BYTES:
            high, low, kind, flags, stream_id = struct.unpack_from(">BHBBI", self._received, place)
            end = place + FRAME_HEADER_BYTES + (high << 16 | low)
            if end > len(self._received):
                break
            try:
                yield from self._take(kind, flags, stream_id, bytes(self._received[place + FRAME_HEADER_BYTES : end]))
            except (HPACKError, LookupError, ValueError, struct.error) as error:
                raise ProtocolError(f"a frame of kind {kind}: {error!r}") from error
            place = end
        del self._received[:place]

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Iterator[Event]:
        if kind == _DATA:
            yield from self._data(flags, stream_id, payload)
        elif kind == _WINDOW_UPDATE:
            self._grow(stream_id, struct.unpack(">I", payload)[0])
            yield WindowsGrew()
        elif kind in (_HEADERS, _CONTINUATION):
            yield from self._headers(kind, flags, stream_id, payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self._settings(payload)
            yield WindowsGrew()
        elif kind == _PING and not flags & _ACK:
            self.control += frame(_PING, _ACK, 0, payload)
        elif kind == _RST_STREAM:
            self.streams.pop(stream_id, None)
        # GOAWAY: the client opens no more streams and closes the connection when it is done. Others: priorities, extensions.

    def _headers(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Iterator[Event]:
        if kind == _HEADERS:
            payload = _unpadded(flags, payload)
            self._header_block = payload[5:] if flags & _PRIORITY else payload
        else:
            self._header_block += payload
        if flags & _END_HEADERS:
            headers = dict(self._decoder.decode(self._header_block, raw=True))
            self.streams[stream_id] = Stream(headers[b":path"].decode(), self._initial_window)
            if flags & _END_STREAM:
                yield self._half_close(stream_id)

    def _data(self, flags: int, stream_id: int, payload: bytes) -> Iterator[Event]:
        self._received_bytes = self._give_back(0, self._received_bytes + len(payload))
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        stream.received_bytes = self._give_back(stream_id, stream.received_bytes + len(payload))
        partial = stream.partial
        partial += _unpadded(flags, payload)
        while len(partial) >= GRPC_PREFIX_BYTES:
            compressed, size = struct.unpack_from(">?I", partial)
            if compressed:
                raise ProtocolError("a compressed message")
            if len(partial) < GRPC_PREFIX_BYTES + size:
                break
            message = bytes(partial[GRPC_PREFIX_BYTES : GRPC_PREFIX_BYTES + size])
            del partial[: GRPC_PREFIX_BYTES + size]
            yield Request(stream_id, message)
        if flags & _END_STREAM and stream_id in self.streams:  # the request may have been refused
            yield self._half_close(stream_id)

    def _half_close(self, stream_id: int) -> HalfClosed:
        self.streams[stream_id].half_closed = True
        return HalfClosed(stream_id)

    def _give_back(self, stream_id: int, received_bytes: int) -> int:
        """Let the client send on; the bytes that it has not been given back yet."""
        if received_bytes < _TOP_UP:
            return received_bytes
        self.control += _window_update(stream_id, received_bytes)
        return 0

    def _settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW_SIZE:
                for stream in self.streams.values():
                    stream.window += value - self._initial_window
                self._initial_window = value
        self.control += frame(_SETTINGS, _ACK, 0, b"")

    def _grow(self, stream_id: int, increment: int) -> None:
        if stream_id == 0:
            self._window += increment
        elif stream_id in self.streams:
            self.streams[stream_id].window += increment


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return struct.pack(">BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream_id) + payload


def response_headers(stream_id: int) -> bytes:
    return frame(_HEADERS, _END_HEADERS, stream_id, _RESPONSE_HEADERS)


def message_frame(stream_id: int, message: bytes) -> bytes:
    """One message in one DATA frame."""
    return frame(_DATA, 0, stream_id, struct.pack(">?I", False, len(message)) + message)


def trailers(stream_id: int, grpc_status: int) -> bytes:
    """The end of a stream."""
    digits = str(grpc_status).encode()
    return frame(_HEADERS, _END_HEADERS | _END_STREAM, stream_id, b"\x00\x0bgrpc-status" + bytes([len(digits)]) + digits)


def _window_update(stream_id: int, increment: int) -> bytes:
    return frame(_WINDOW_UPDATE, 0, stream_id, struct.pack(">I", increment))


def _unpadded(flags: int, payload: bytes) -> bytes:
    return payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
