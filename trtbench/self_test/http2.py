"""The server side of one HTTP/2 connection that carries gRPC, for the replay server: bytes in, requests out; no socket.

Frames and messages are read and written by the functions of trtbench/client/http2/. Here is the state of a server, which accepts only what
clients are expected to send (RFC 9113); anything else ends the connection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from hpack import Decoder, HPACKError

from trtbench.client.http2 import frames
from trtbench.client.http2.frames import WireError
from trtbench.client.http2.grpc_wire import Deframer, StreamFault

GRPC_PREFIX_BYTES = 5

_OUR_WINDOW = 1 << 30
_TOP_UP = 1 << 20  # windows are enlarged in steps of this size, because requests are small
_RESPONSE_HEADERS = b"\x88" + b"\x0f\x10\x10application/grpc"  # :status 200 (static table), content-type (its name too) as a literal


class ProtocolError(Exception):
    """The client sent something that this server does not accept."""


class Request(NamedTuple):
    stream_id: int
    message: bytes


class HalfClosed(NamedTuple):
    """The client sends nothing more on this stream."""

    stream_id: int


class WindowsGrew(NamedTuple):
    """What flow control held back may be sent."""


Event = Request | HalfClosed | WindowsGrew


def _reading() -> Deframer:
    deframer = Deframer()
    deframer.answered = True  # only a client waits for response headers
    return deframer


@dataclass(slots=True)
class Stream:
    """A stream. The server sets `answered` once it has sent headers, and counts `requests_open`; a stream ends when it is half-closed and
    every request is answered."""

    path: str
    window: int
    messages: Deframer = field(default_factory=_reading)
    half_closed: bool = False
    answered: bool = False
    requests_open: int = 0


class ServerConnection:
    """The server's side of a connection. `control` has bytes that must be sent before anything else; the sender empties it."""

    def __init__(self) -> None:
        self.control = bytearray(frames.settings({frames.INITIAL_WINDOW_SIZE: _OUR_WINDOW}))
        self.control += frames.window_update(0, _OUR_WINDOW - frames.DEFAULT_WINDOW_BYTES)
        self.streams: dict[int, Stream] = {}
        self._window = self._initial_window = frames.DEFAULT_WINDOW_BYTES
        self._decoder = Decoder(frames.MAX_HEADER_BLOCK_BYTES)
        self._received = b""
        self._received_bytes = 0
        self._preface_missing = True

    def take_window(self, stream_id: int, size: int) -> bool:
        """Whether `size` bytes of DATA may be sent now; they count as sent if so."""
        stream = self.streams[stream_id]
        if size > self._window or size > stream.window:
            return False
        self._window -= size
        stream.window -= size
        return True

    def receive(self, data: bytes) -> Iterator[Event]:
        """The events in the client's next bytes; ProtocolError ends the connection."""
        received, place = self._received + data, 0
        if self._preface_missing and len(received) >= len(frames.MAGIC):
            if not received.startswith(frames.MAGIC):
                raise ProtocolError("no HTTP/2 preface")
            self._preface_missing, place = False, len(frames.MAGIC)
        while not self._preface_missing and len(received) - place >= frames.HEADER_BYTES:
            word, flags, stream_id = frames.HEADER.unpack_from(received, place)
            end = place + frames.HEADER_BYTES + (word >> 8)
            payload = received[place + frames.HEADER_BYTES : end]
            try:
                if word & 0xFF == frames.HEADERS:
                    payload, end = frames.header_block(received, place)
                if end > len(received):
                    break
                yield from self._take(word & 0xFF, flags, stream_id, payload)
            except (WireError, StreamFault, HPACKError, LookupError, ValueError, struct.error) as error:
                raise ProtocolError(f"a frame of kind {word & 0xFF}: {error!r}") from error
            place = end
        self._received = received[place:]

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Iterator[Event]:
        if kind == frames.DATA:
            yield from self._data(flags, stream_id, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._grow(stream_id, frames.read_number(payload))
            yield WindowsGrew()
        elif kind == frames.HEADERS:
            headers = dict(self._decoder.decode(payload, raw=True))
            self.streams[stream_id] = Stream(headers[b":path"].decode(), self._initial_window)
            if flags & frames.END_STREAM:
                yield self._half_close(stream_id)
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self._settings(payload)
            yield WindowsGrew()
        elif kind == frames.PING and not flags & frames.ACK:
            self.control += frames.frame(frames.PING, 0, payload, frames.ACK)
        elif kind == frames.RST_STREAM:
            self.streams.pop(stream_id, None)
        # GOAWAY: the client opens no more streams and closes the connection when it is done. Others: priorities, extensions.

    def _data(self, flags: int, stream_id: int, payload: bytes) -> Iterator[Event]:
        self._received_bytes = self._give_back(0, self._received_bytes + len(payload))
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        messages = stream.messages
        messages.received_bytes = self._give_back(stream_id, messages.received_bytes + len(payload))
        whole: list[tuple[int, bytes]] = []
        messages.take_data(stream_id, frames.unpadded(flags, payload), frames.MAX_WINDOW_BYTES, whole)
        for request in whole:
            yield Request(*request)
        if flags & frames.END_STREAM and stream_id in self.streams:  # the request may have been refused
            yield self._half_close(stream_id)

    def _half_close(self, stream_id: int) -> HalfClosed:
        self.streams[stream_id].half_closed = True
        return HalfClosed(stream_id)

    def _give_back(self, stream_id: int, received_bytes: int) -> int:
        """Enlarge the client's window by the bytes received, if there are enough; returns the bytes not returned yet."""
        if received_bytes < _TOP_UP:
            return received_bytes
        self.control += frames.window_update(stream_id, received_bytes)
        return 0

    def _settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):  # a client may also send settings that a server must not send
            if name == frames.INITIAL_WINDOW_SIZE:
                for stream in self.streams.values():
                    stream.window += value - self._initial_window
                self._initial_window = value
        self.control += frames.frame(frames.SETTINGS, 0, flags=frames.ACK)

    def _grow(self, stream_id: int, increment: int) -> None:
        if stream_id == 0:
            self._window += increment
        elif stream_id in self.streams:
            self.streams[stream_id].window += increment


def response_headers(stream_id: int) -> bytes:
    return frames.frame(frames.HEADERS, stream_id, _RESPONSE_HEADERS, frames.END_HEADERS)


def message_frame(stream_id: int, message: bytes) -> bytes:
    """One message in one DATA frame."""
    return frames.frame(frames.DATA, stream_id, struct.pack(">?I", False, len(message)) + message)


def trailers(stream_id: int, grpc_status: int) -> bytes:
    """The end of a stream."""
    digits = str(grpc_status).encode()
    block = b"\x00\x0bgrpc-status" + bytes([len(digits)]) + digits
    return frames.frame(frames.HEADERS, stream_id, block, frames.END_HEADERS | frames.END_STREAM)
