"""Connection: a connection to the server on the event loop. It timestamps each read and hands its messages to the receivers of streams."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from trtbench.client.transport.connection_parts import NOBODY, Keepalive, Pacing, Receiver, WriteBuffer
from trtbench.client.transport.kernel_timestamps import CONTROL_BYTES, KernelStamps
from trtbench.client.transport.read_pacer import ReadPacer
from trtbench.client.transport.tls import TlsSession
from trtbench.client.wire import DirectRead, PeerLeaving, PeerReady, StreamEnded, Wire, WireFault
from trtbench.system.clock import NS_PER_S, now_ns

_BUFFER = bytearray(1 << 16)  # of all connections of the process; a wire keeps what a read leaves unparsed
_BUFFERS, _VIEW = [_BUFFER], memoryview(_BUFFER)


class TransportError(Exception):
    """The connection was lost or could not be made; the message gives the reason."""


class Connection:
    """A connection. `cause` is why it was lost, and empty until then; `failed`: it was needed. `on_free` is called when a stream ends or
    it is lost. `ready` is done when the server accepts requests; it raises TransportError if the connection was lost before."""

    __slots__ = (
        "_closing",
        "_keepalive",
        "_leaving",
        "_loop",
        "_next_token_read",
        "_on_free",
        "_pacing",
        "_receive",
        "_retiring",
        "_socket",
        "_stamps",
        "_streams",
        "_tls",
        "_wire",
        "_write_buffer",
        "cause",
        "failed",
        "ready",
    )

    def __init__(
        self,
        connected: socket.socket,
        wire: Wire,
        stamps: KernelStamps | None,
        tls: TlsSession | None,
        silence_ns: int,
        on_free: Callable[[Connection], None],
        pacer: ReadPacer | None = None,
    ) -> None:
        """Read and write from now on; the connection owns the socket. It needs a running event loop. `silence_ns`: see Keepalive;
        `pacer`: see Pacing, only with `stamps`."""
        self._loop, self._socket = asyncio.get_running_loop(), connected
        self._receive: Callable[..., Any] = connected.recvmsg_into if stamps else connected.recv_into
        self._wire, self._stamps, self._tls, self._on_free = wire, stamps, tls, on_free
        self._streams: dict[int, Receiver | None] = {}  # None: idle
        self._retiring, self._closing = set(), set()  # type: set[int], set[int]  # see retire_streams, close_stream
        self._write_buffer = WriteBuffer(self._loop, connected, self._write_failed)
        self._next_token_read: DirectRead | None = None
        self._pacing = Pacing(pacer, connected.fileno(), self._on_readable)
        self._keepalive = Keepalive(silence_ns, now_ns())
        self._leaving, self.cause, self.failed = "", "", False
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(connected, self._on_readable)
        self._parse(b"", self._keepalive.received_ns, None)  # TLS may have decrypted the first frames with the end of the handshake

    @property
    def streams(self) -> int:
        """The number of streams that carry requests or may carry one."""
        return len(self._streams) - len(self._closing)

    def room(self, most_streams: int) -> bool:
        """Whether another stream can be opened, with at most `most_streams` of this client on the connection."""
        return not self.cause and self.streams < most_streams and self._wire.can_open

    def open_stream(self, path: str) -> int:
        """An idle stream to a method, which the next `flush` opens on the server. Only if there is room."""
        stream_id = self._wire.open_stream(path)
        self._streams[stream_id] = None
        return stream_id

    def is_idle(self, stream_id: int) -> bool:
        """Whether the stream is open and no request is in flight on it."""
        return stream_id in self._streams and self._streams[stream_id] is None

    def send_on_stream(self, stream_id: int, message: bytes, receiver: Receiver, end_stream: bool = False) -> int:
        """Send on an idle stream, with `end_stream` the last message; returns the instant just before the socket was given the bytes."""
        self._streams[stream_id] = receiver
        self._pacing.follow(self._streams)
        self._wire.send_message(stream_id, message, end_stream)
        self._keepalive.sent_ns = sent_ns = now_ns()
        self.flush()
        return sent_ns

    def release(self, stream_id: int) -> None:
        """The request of a stream is over. The stream is idle again, or closed if it is retiring or the server is going away."""
        if stream_id in self._streams:
            self._streams[stream_id] = None
            if self._leaving:
                self.reset(stream_id)
            elif stream_id in self._retiring:
                self.close_stream(stream_id)

    def retire_streams(self) -> None:
        """Close all streams: idle ones now, the others when their request is over."""
        for stream_id, receiver in list(self._streams.items()):
            if receiver is None:
                self.close_stream(stream_id)
            elif stream_id not in self._closing:
                self._retiring.add(stream_id)

    def reset(self, stream_id: int) -> None:
        """Cancel a stream; does nothing if it has ended."""
        if self._streams.pop(stream_id, self) is self:
            return
        self._forget(stream_id)
        self._settle()
        self._pacing.follow(self._streams)
        self._wire.reset(stream_id)
        self.flush()
        self._stream_gone()

    def check(self, instant_ns: int) -> None:
        """Send a PING on a silent connection with requests in flight, and give the connection up if it was not answered."""
        self._settle()
        step = self._keepalive.check(instant_ns, any(self._streams.values()))
        if step == "ping":
            self._wire.ping()
            self.flush()
        elif step == "lost":
            self.lose(f"keepalive: half-open, no answer to a PING for {self._keepalive.silence_ns / NS_PER_S:g} s")

    def flush(self) -> None:
        """Give the socket everything that may be sent."""
        output = self._wire.take_output()
        if self._tls:
            output = self._tls.encrypt(output)
        if output and not self.cause:
            self._write_buffer.write(output)
            if not self._wire.replied(self._write_buffer.is_clear):
                self._loop.call_soon(self.lose, "connection broken: the server asks for replies without end and reads none")

    def lose(self, cause: str, failed: bool = True) -> None:
        """Close the connection, which ends every request on it."""
        if self.cause:
            return
        self.failed, self.cause = failed, f"{cause} (after {self._leaving})" if self._leaving else cause
        self._pacing.end()
        self._loop.remove_reader(self._socket)
        self._write_buffer.close()
        self._socket.close()
        if not self.ready.done():
            self.ready.set_exception(TransportError(self.cause))
        receivers, self._streams = list(self._streams.values()), {}
        self._closing.clear()
        for receiver in filter(None, receivers):
            receiver.connection_lost(self.cause)
        self._on_free(self)

    def _on_readable(self) -> None:
        lag_ns = None
        try:
            if self._stamps is None:
                size = self._receive(_BUFFER)
                arrived_ns = read_ns = now_ns()
            else:
                size, control, _, _ = self._receive(_BUFFERS, CONTROL_BYTES)
                read_ns = now_ns()
                arrived_ns = self._stamps.arrival(control, read_ns)
                lag_ns = read_ns - arrived_ns
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._peer_gone(f"connection broken: {error.strerror or error}", now_ns(), in_order=False)
            return
        if not size:
            self._peer_gone("connection closed by the server", read_ns, in_order=True)
            return
        self._keepalive.received_ns = read_ns
        if self._next_token_read is not None:
            if self._next_token_read.take_read(_BUFFER, size, arrived_ns, lag_ns):
                return
            self._settle()
        self._parse(_VIEW[:size], arrived_ns, lag_ns)

    def _parse(self, data: bytes | memoryview, arrived_ns: int, lag_ns: int | None) -> None:
        fault, events = "", ()  # type: str, Sequence[Any]
        try:
            events = self._wire.receive(self._tls.decrypt(data) if self._tls else data)
        except WireFault as error:
            events, fault = error.events, error.cause
        except ssl.SSLError as error:
            fault = f"TLS broken: {error.reason or error}"
        self._take_events(events, arrived_ns, lag_ns)
        self.flush()
        if fault:
            self.lose(fault)

    def _take_events(self, events: Sequence[Any], arrived_ns: int, lag_ns: int | None) -> None:
        alone = len(events) == 1
        for event in events:
            if type(event) is not tuple:
                self._handle(event)
                continue
            stream_id, message = event
            receiver = self._streams.get(stream_id)
            if receiver is not None:
                receiver.take_message(message, arrived_ns, lag_ns, alone)
                if alone and len(self._streams) == 1 and not self._tls and self._wire.between_messages(stream_id):
                    self._next_token_read = receiver.next_token_read()
            else:  # no request waits for it, and the next request on this stream must not get it
                self.reset(stream_id)
        self._pacing.follow(self._streams, len(events) > 1, lag_ns)

    def _peer_gone(self, cause: str, instant_ns: int, in_order: bool) -> None:
        """Lose the connection, after its last events: this may be the end of an answer."""
        self._settle()
        crossed = self._keepalive.crossed(instant_ns)
        self._take_events(self._wire.receive_end(in_order, crossed), instant_ns, 0 if self._stamps else None)
        self.lose(cause, failed=bool(self._streams) or not self._wire.is_over)

    def _settle(self) -> None:
        """Count in flow control what the fast path has read, and parse the next read."""
        next_token_read, self._next_token_read = self._next_token_read, None
        if next_token_read:
            self._wire.count_bypassed(next_token_read.stream_id, next_token_read.flow_bytes)

    def _handle(self, event: StreamEnded | PeerLeaving | PeerReady | object) -> None:
        if isinstance(event, StreamEnded):
            receiver = self._streams.pop(event.stream_id, None)
            self._forget(event.stream_id)
            if receiver is not None:
                receiver.stream_ended(event)
            self._stream_gone()
        elif isinstance(event, PeerLeaving):
            self._leaving = event.reason
            for stream_id in [stream_id for stream_id in self._streams if self.is_idle(stream_id)]:
                self.reset(stream_id)
            self._stream_gone()
        elif isinstance(event, PeerReady):
            if not self.ready.done():
                self.ready.set_result(None)
        else:  # the answer to a ping
            self._keepalive.ponged()

    def close_stream(self, stream_id: int) -> None:
        """End the client's side of an idle stream, and ignore what the server still sends. It is not reset, because Triton
        has been observed to keep a model loaded for ever if a reset arrived just as a request of it ended."""
        self._retiring.discard(stream_id)
        self._closing.add(stream_id)
        self._streams[stream_id] = NOBODY
        self._wire.end(stream_id)
        self.flush()
        if self._wire.is_over:
            self.lose("connection closed by the client", failed=False)
        self._on_free(self)

    def _forget(self, stream_id: int) -> None:
        self._retiring.discard(stream_id)
        self._closing.discard(stream_id)

    def _stream_gone(self) -> None:
        if not self._streams and (self._leaving or self._wire.is_over):
            self.lose("connection closed", failed=bool(self._leaving))
        self._on_free(self)

    def _write_failed(self, error: OSError) -> None:
        """Lose the connection, after reading what the server sent before it closed."""
        self._on_readable()
        self.lose(f"connection broken: {error.strerror or error}")
