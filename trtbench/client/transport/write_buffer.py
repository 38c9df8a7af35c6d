"""Outflow: the bytes on their way into a socket that may not take them all at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable


class Outflow:
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
