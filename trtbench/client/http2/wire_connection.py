"""WireConnection: the client's side of one HTTP/2 connection that carries gRPC. Bytes go in, events come out; no socket and no clock.

It has only what ModelStreamInfer of KServe v2 and unary calls need (RFC 9113, grpc/doc/PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

import struct

from trtbench.client.http2 import frames
from trtbench.client.http2.calls import LAST_STREAM_ID, Calls, Event, GoAway, Metadata, Pong, SettingsReceived
from trtbench.client.http2.frames import ErrorCode, WireError
from trtbench.client.http2.grpc_wire import StreamFault
from trtbench.client.http2.outbox import Outbox
from trtbench.client.wire import StreamEnded

__all__ = ["Event", "GoAway", "Pong", "SettingsReceived", "StreamEnded", "WireConnection", "WireError"]

MAX_MESSAGE_BYTES = 1 << 26
"""The longest message, which is an encoder's answer. A response of a stream has a lower limit, see wire_client.py."""
TOP_UP_BYTES = 1 << 29  # how much is read before the receive windows of 2 GiB are opened again
_MOST_UNREAD_BYTES = 1 << 20  # replies that the peer may leave unread: those to 60,000 PINGs
_PING = b"trtbench"
_PREFIX_BYTES = 5  # of a message: compressed flag, length
_WHOLE_MESSAGE = struct.Struct(">IBIBI")
"""A frame header (see frames.HEADER) and a message's prefix."""


class WireConnection:
    """One connection without its socket. After every call the bytes of `take_output` have to be sent: the opening of the connection,
    replies to what `receive` has read, and messages that the windows allow.

    After a WireError of `receive`, every call except `reset` and `take_output` raises it again; the last frame of the output is a GOAWAY.
    """

    __slots__ = (
        "_authority",
        "_calls",
        "_error",
        "_going_away",
        "_longest_bytes",
        "_max_streams",
        "_metadata",
        "_needed_bytes",
        "_outbox",
        "_part",
        "_scheme",
        "_settled",
        "_untopped_bytes",
    )

    is_over = False  # the peer says that it is leaving, or closes the connection

    def __init__(self, authority: str, scheme: str = "http", max_message_bytes: int = MAX_MESSAGE_BYTES, metadata: Metadata = ()) -> None:
        """`authority` is host:port of the server. A message longer than `max_message_bytes` ends its stream. `metadata` are further
        headers of every call, with names in lower case."""
        self._authority, self._scheme, self._metadata = authority, scheme, metadata
        self._outbox = Outbox()
        self._outbox.write(frames.OPENING)
        self._calls = Calls(self._outbox, max_message_bytes)
        self._longest_bytes = min(max_message_bytes, frames.MAX_FRAME_BYTES - _PREFIX_BYTES)  # the longest message in one frame
        self._max_streams: int | None = None
        self._settled = False  # whether the peer's first SETTINGS have arrived
        self._going_away = False
        self._error: WireError | None = None
        self._part = bytearray()  # the beginning of a frame that is not complete yet
        self._needed_bytes = 0  # the length of `_part` at which parsing can continue
        self._untopped_bytes = 0  # bytes read since the windows were opened again

    @property
    def can_open(self) -> bool:
        room = self._max_streams is None or self.open_streams < self._max_streams
        return room and not self._going_away and self._error is None and self._calls.next_id <= LAST_STREAM_ID

    @property
    def open_streams(self) -> int:
        return len(self._calls.open)

    @property
    def pending_bytes(self) -> int:
        """The bytes that the peer's flow-control windows hold back."""
        return self._outbox.held_bytes

    def replied(self, all_sent: bool) -> bool:
        """Whether the peer reads the replies to its PING and SETTINGS. To be called after the output was handed to the socket;
        `all_sent` is whether the socket has sent all of it."""
        if all_sent:
            self._outbox.reply_bytes = 0
        return self._outbox.reply_bytes <= _MOST_UNREAD_BYTES

    def open_stream(self, path: str) -> int:
        """Begin a call of the method `path`, written /package.Service/Method; WireError if `can_open` is False."""
        self._check()
        if not self.can_open:
            raise WireError(ErrorCode.REFUSED_STREAM, "the connection takes no further stream")
        return self._calls.begin(self._scheme, self._authority, path, self._metadata)

    def send_message(self, stream_id: int, message: bytes, end_stream: bool = False) -> None:
        """Send a message on a stream; WireError if the stream is over or its last message was sent."""
        self._check()
        if not self._outbox.accepts(stream_id):
            raise WireError(ErrorCode.STREAM_CLOSED, f"stream {stream_id} takes no further message")
        self._outbox.queue_data(stream_id, struct.pack(">BI", 0, len(message)) + message, end_stream)

    def end(self, stream_id: int) -> None:
        """End the client's side of a call: no message follows. The call itself ends when the peer ends it. A second call does nothing."""
        if self._outbox.accepts(stream_id) and self._error is None:
            self._outbox.end(stream_id)

    def reset(self, stream_id: int) -> None:
        """Cancel a call; no further event of it follows. It does nothing if the call or the connection is over."""
        if stream_id in self._calls.open and self._error is None:
            self._calls.forget(stream_id, ErrorCode.CANCEL)

    def ping(self) -> None:
        """Send a PING, which the peer returns as a Pong."""
        self._check()
        self._outbox.write(frames.frame(frames.PING, 0, _PING))

    def take_output(self) -> bytes:
        """Everything that may be sent now."""
        return self._outbox.take_output()

    def receive(self, data: bytes | memoryview) -> list[Event]:
        """The events in the peer's next bytes, which may be cut anywhere.

        WireError if the bytes violate the protocol; its `events` are those before the violation."""
        self._check()
        if self._part:
            data = self._joined(data)
        elif type(data) is not bytes:
            data = bytes(data)
        events: list[Event] = []
        try:
            self._parse(data, events)
        except WireError as error:
            self._error = WireError(error.code, str(error))
            self._outbox.write(frames.goaway(error.code, str(error).encode()))
            error.events = events
            raise
        self._count(len(data))
        return events

    def receive_end(self, in_order: bool, crossed: bool) -> tuple[()]:
        return ()  # a stream is complete only if the peer ended it before the connection

    def between_messages(self, stream_id: int) -> bool:
        """Whether the next byte of the peer begins a frame, and the next byte of this stream a message."""
        call = self._calls.open.get(stream_id)
        return not self._part and call is not None and call.fresh

    def count_bypassed(self, stream_id: int, flow_bytes: int) -> None:
        """Count `flow_bytes` of complete DATA frames with one message each, which the caller parsed itself without `receive`.

        This is possible only `between_messages`."""
        call = self._calls.open.get(stream_id)
        if call is not None:
            call.received_bytes += flow_bytes
        self._count(flow_bytes)

    def _count(self, read_bytes: int) -> None:
        self._untopped_bytes += read_bytes
        if self._untopped_bytes >= TOP_UP_BYTES:
            self._untopped_bytes = 0
            self._calls.top_up()

    def _check(self) -> None:
        if self._error is not None:
            raise WireError(self._error.code, str(self._error))

    def _joined(self, data: bytes | memoryview) -> bytes:
        """`data` appended to the rest of the last read, or nothing if that is still too short to be parsed."""
        self._part += data
        if len(self._part) < self._needed_bytes:
            return b""
        joined = bytes(self._part)
        self._part.clear()
        return joined

    def _parse(self, data: bytes, events: list[Event]) -> None:
        """Parse frames. The usual one is DATA with exactly one message on a stream that expects one; it is parsed here for speed, and every
        other frame in `_take_frame`."""
        pos, size, end = 0, len(data), 0
        unpack, find, append, longest_bytes = _WHOLE_MESSAGE.unpack_from, self._calls.open.get, events.append, self._longest_bytes
        last = size - _WHOLE_MESSAGE.size
        while pos < size:
            if pos <= last:
                word, flags, stream_id, compressed, length = unpack(data, pos)
                if word == (length + _PREFIX_BYTES) << 8 and length <= longest_bytes and not flags and not compressed:  # DATA is kind 0
                    call = find(stream_id)
                    end = pos + _WHOLE_MESSAGE.size + length
                    if call is not None and call.fresh and end <= size:
                        append((stream_id, data[pos + _WHOLE_MESSAGE.size : end]))
                        call.received_bytes += length + _PREFIX_BYTES
                        pos = end
                        continue
            end = self._take_frame(data, pos, events)
            if end > size:
                self._part += data[pos:]
                self._needed_bytes = end - pos
                return
            pos = end

    def _take_frame(self, data: bytes, pos: int, events: list[Event]) -> int:
        """Parse the frame at `pos`, if all of it is in `data`; returns where it ends, which may be beyond `data`."""
        if pos + frames.HEADER_BYTES > len(data):
            return pos + frames.HEADER_BYTES
        word, flags, stream_id = frames.HEADER.unpack_from(data, pos)
        length, kind, stream_id = word >> 8, word & 0xFF, stream_id & frames.STREAM_ID_MASK
        end: int = pos + frames.HEADER_BYTES + length
        if not self._settled and kind != frames.SETTINGS:
            raise WireError(ErrorCode.PROTOCOL_ERROR, f"the peer does not speak HTTP/2: it began with {data[pos : pos + 9]!r}")
        if length > frames.MAX_FRAME_BYTES:
            raise WireError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes, over the {frames.MAX_FRAME_BYTES} allowed")
        payload, end = frames.header_block(data, pos) if kind == frames.HEADERS else (data[pos + frames.HEADER_BYTES : end], end)
        if end > len(data):
            return end
        try:
            self._dispatch(kind, flags, stream_id, payload, events)
        except StreamFault as fault:
            self._calls.fail(stream_id, fault, events)
        return end

    def _dispatch(self, kind: int, flags: int, stream_id: int, payload: bytes, events: list[Event]) -> None:
        """Unknown kinds of frames are ignored, and so is PRIORITY."""
        if kind == frames.DATA:
            self._calls.data(stream_id, flags, payload, events)
        elif kind == frames.HEADERS:
            self._calls.headers(stream_id, flags, payload, events)
        elif kind == frames.RST_STREAM:
            self._calls.reset(stream_id, frames.read_number(payload), events)
        elif kind == frames.WINDOW_UPDATE:
            self._calls.grant(stream_id, frames.read_number(payload) & frames.MAX_WINDOW_BYTES)
        elif kind in _OF_CONNECTION:
            if stream_id:
                raise WireError(ErrorCode.PROTOCOL_ERROR, f"a frame of kind {kind} on stream {stream_id}")
            _OF_CONNECTION[kind](self, flags, payload, events)
        elif kind in (frames.PUSH_PROMISE, frames.CONTINUATION):
            text = "PUSH_PROMISE" if kind == frames.PUSH_PROMISE else "CONTINUATION without HEADERS before it"
            raise WireError(ErrorCode.PROTOCOL_ERROR, text)

    def _take_settings(self, flags: int, payload: bytes, events: list[Event]) -> None:
        values = frames.read_settings(payload)
        if flags & frames.ACK:
            if payload:
                raise WireError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS that acknowledge and set")
            return
        self._settled = True
        self._outbox.reply(frames.frame(frames.SETTINGS, 0, flags=frames.ACK))  # before the data that the new values release
        for name, value in values:
            if name == frames.MAX_CONCURRENT_STREAMS:
                self._max_streams = value
            elif name == frames.MAX_FRAME_SIZE:
                self._outbox.max_frame_bytes = value
            elif name == frames.INITIAL_WINDOW_SIZE and not self._outbox.set_initial_window(value):
                raise WireError(ErrorCode.FLOW_CONTROL_ERROR, f"an INITIAL_WINDOW_SIZE of {value} opens a stream's window too far")
        events.append(SettingsReceived(self._max_streams))

    def _take_ping(self, flags: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) != 8:
            raise WireError(ErrorCode.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
        if flags & frames.ACK:
            events.append(Pong(payload))
        else:
            self._outbox.reply(frames.frame(frames.PING, 0, payload, frames.ACK))

    def _take_goaway(self, flags: int, payload: bytes, events: list[Event]) -> None:
        last_stream_id, code, raw_debug = frames.read_goaway(payload)
        debug = raw_debug.decode("utf-8", "replace")
        self._going_away = True
        events.append(GoAway(last_stream_id, code, debug))
        self._calls.refuse_above(last_stream_id, code, debug, events)


_OF_CONNECTION = {
    frames.SETTINGS: WireConnection._take_settings,
    frames.PING: WireConnection._take_ping,
    frames.GOAWAY: WireConnection._take_goaway,
}
