"""The parts of a connection beside its HTTP/2: its keepalive, who waits on a stream, and the bytes that the socket does not take yet."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Literal, Protocol

from trtbench.client.http2.wire_connection import StreamEnded
from trtbench.client.kserve.next_token_fast_path import NextTokenRead
from trtbench.system.clock import NS_PER_S

_AFTER_PONG_NS = 300 * NS_PER_S
"""gRPC servers end a connection with too_many_pings when pings without data between them come more often (gRFC A8)."""


class Keepalive:
    """`heard_ns`: the last instant at which anything came. An answer to a PING is due within `silence_ns` too."""

    __slots__ = ("_pinged_ns", "_ponged_ns", "heard_ns", "silence_ns")

    def __init__(self, silence_ns: int, now_ns: int) -> None:
        self.silence_ns = silence_ns
        self.heard_ns = now_ns
        self._pinged_ns = self._ponged_ns = -1

    def ponged(self) -> None:
        """What was heard last was an answer to a PING."""
        self._ponged_ns = self.heard_ns

    def check(self, now_ns: int, in_flight: bool) -> Literal["wait", "ping", "lost"]:
        """After "ping" the caller sends one. Anything heard since counts as its answer."""
        if self._pinged_ns > self.heard_ns:
            return "lost" if now_ns - self._pinged_ns > self.silence_ns else "wait"
        patience_ns = _AFTER_PONG_NS if self.heard_ns == self._ponged_ns else self.silence_ns
        if not in_flight or now_ns - self.heard_ns <= patience_ns:
            return "wait"
        self._pinged_ns = now_ns
        return "ping"


class Receiver(Protocol):
    """Who waits on a stream."""

    def take_message(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        """`lag_ns`: how much later it was read, None without kernel stamps. Not `alone`: the stamp may be that of what it was read with."""

    def next_token_read(self) -> NextTokenRead | None:
        """What takes reads that hold just its next message, in place of `take_message`; None: nothing can."""

    def stream_ended(self, end: StreamEnded) -> None: ...

    def connection_lost(self, cause: str) -> None: ...


class Nobody:
    """Waits on a stream that was closed."""

    def take_message(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        pass

    def next_token_read(self) -> None:
        return None

    def stream_ended(self, end: StreamEnded) -> None:
        pass

    def connection_lost(self, cause: str) -> None:
        pass


NOBODY = Nobody()


class WriteBuffer:
    """`on_broken` hears, on the loop's next turn, that the socket takes nothing any more, and why."""

    __slots__ = ("_loop", "_on_broken", "_socket", "_unsent")

    def __init__(self, loop: asyncio.AbstractEventLoop, connected: socket.socket, on_broken: Callable[[OSError], None]) -> None:
        self._loop, self._socket, self._on_broken = loop, connected, on_broken
        self._unsent = b""

    @property
    def is_clear(self) -> bool:
        """Whether nothing waits."""
        return not self._unsent

    def write(self, output: bytes) -> None:
        """Now, or after what waits."""
        if self._unsent:
            self._unsent += output
        else:
            self._send(output)

    def close(self) -> None:
        """Before the socket is closed."""
        self._loop.remove_writer(self._socket)

    def _send(self, output: bytes) -> None:
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
        self._send(self._unsent)
