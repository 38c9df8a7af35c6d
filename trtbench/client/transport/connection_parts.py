"""Parts of a connection of any protocol: its keepalive, the receivers of its streams, and bytes that the socket cannot take yet."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from trtbench.client.transport.read_pacer import ReadPacer
from trtbench.client.wire import DirectRead, StreamEnded
from trtbench.system.clock import NS_PER_S

_CROSSING_NS = 200_000_000  # the longest time for a message to reach the peer, and for an answer to come back
_AFTER_PONG_NS = 300 * NS_PER_S
"""A gRPC server ends a connection with too_many_pings if pings without data between them arrive more often than this (gRFC A8)."""


class Keepalive:
    """Finds out whether a silent connection is alive. A PING is due after `silence_ns` without data, and its answer `silence_ns` later.

    `received_ns` is the last instant at which anything was received, `sent_ns` that at which the last message was sent."""

    __slots__ = ("_pinged_ns", "_ponged_ns", "received_ns", "sent_ns", "silence_ns")

    def __init__(self, silence_ns: int, now_ns: int) -> None:
        self.silence_ns = silence_ns
        self.received_ns = now_ns
        self._pinged_ns = self._ponged_ns = self.sent_ns = -1

    def ponged(self) -> None:
        """What was received last is an answer to a PING."""
        self._ponged_ns = self.received_ns

    def crossed(self, closed_ns: int) -> bool:
        """Whether the peer may have closed the connection, as seen at `closed_ns`, before the last message reached it."""
        return closed_ns - self.sent_ns < _CROSSING_NS

    def check(self, now_ns: int, in_flight: bool) -> Literal["wait", "ping", "lost"]:
        """What the caller has to do: after "ping" it sends a PING, and anything received later counts as the answer."""
        if self._pinged_ns > self.received_ns:
            return "lost" if now_ns - self._pinged_ns > self.silence_ns else "wait"
        patience_ns = _AFTER_PONG_NS if self.received_ns == self._ponged_ns else self.silence_ns
        if not in_flight or now_ns - self.received_ns <= patience_ns:
            return "wait"
        self._pinged_ns = now_ns
        return "ping"


class Receiver(Protocol):
    """Receives the messages of a stream while a request is in flight on it."""

    def take_message(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        """Handle a message. `lag_ns` is how much later than its arrival it was read; None without kernel timestamps.

        If it is not `alone`, it was read together with others, and its timestamp may be that of another."""

    def next_token_read(self) -> DirectRead | None:
        """The fast path that handles reads with exactly the next message, in place of `take_message`; None if there is none."""

    @property
    def is_mid_answer(self) -> bool:
        """Whether the answer has begun and the next message is not the last one, as far as is known."""

    @property
    def arrivals_ns(self) -> Sequence[int]:
        """The arrivals of the answer so far; the sequence grows."""

    def stream_ended(self, end: StreamEnded) -> None: ...

    def connection_lost(self, cause: str) -> None: ...


class Nobody:
    """The receiver of a stream that the client has closed; it ignores everything."""

    def take_message(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        pass

    def next_token_read(self) -> None:
        return None

    is_mid_answer = False
    arrivals_ns: Sequence[int] = ()

    def stream_ended(self, end: StreamEnded) -> None:
        pass

    def connection_lost(self, cause: str) -> None:
        pass


NOBODY = Nobody()


class Pacing:
    """Lets a pacer read a connection, by `read`, while its only stream is in the middle of an answer; does nothing without a pacer."""

    __slots__ = ("_descriptor", "_middle", "_pacer", "_read")

    def __init__(self, pacer: ReadPacer | None, descriptor: int, read: Callable[[], None]) -> None:
        self._pacer, self._descriptor, self._read = pacer, descriptor, read
        self._middle: Receiver | None = None  # the receiver of the answer

    def follow(self, receivers: Mapping[int, Receiver | None], crowded: bool = False, lag_ns: int | None = None) -> None:
        """The receivers have changed, or received what was read `lag_ns` after it arrived; if `crowded`, more than one message.

        A read with none, of control frames alone, is not crowded."""
        if self._pacer is None:
            return
        receiver = next(iter(receivers.values())) if len(receivers) == 1 else None
        middle = receiver if receiver is not None and receiver.is_mid_answer else None
        if middle is self._middle:
            if middle and crowded:
                self._pacer.count_crowded()
            return
        if self._middle:
            self._pacer.leave(self._descriptor, None if receiver is self._middle else lag_ns)
        if middle:
            self._pacer.enter(self._descriptor, self._read, middle.arrivals_ns)
        self._middle = middle

    def end(self) -> None:
        """The connection is lost."""
        if self._pacer and self._middle:
            self._pacer.leave(self._descriptor, lost=True)
        self._pacer = None


class WriteBuffer:
    """Writes to the socket, and keeps what it cannot take yet. If a write fails, the event loop calls `on_broken` next."""

    __slots__ = ("_loop", "_on_broken", "_socket", "_unsent")

    def __init__(self, loop: asyncio.AbstractEventLoop, connected: socket.socket, on_broken: Callable[[OSError], None]) -> None:
        self._loop, self._socket, self._on_broken = loop, connected, on_broken
        self._unsent = b""

    @property
    def is_clear(self) -> bool:
        """Whether everything was sent."""
        return not self._unsent

    def write(self, output: bytes) -> None:
        """Send `output` now, or after what is kept."""
        if self._unsent:
            self._unsent += output
        else:
            self._send_now(output)

    def close(self) -> None:
        """Stop waiting for the socket; to be called before it is closed."""
        self._loop.remove_writer(self._socket)

    def _send_now(self, output: bytes) -> None:
        try:
            sent = self._socket.send(output)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._loop.call_soon(self._on_broken, error)
            return
        self._unsent = output[sent:]
        if self._unsent:
            self._loop.add_writer(self._socket, self._on_writable)

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._socket)
        self._send_now(self._unsent)
