"""Servers that give one first answer to whoever connects: what a wrong address can be."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from trtbench.client.http2 import frames

Answer = Callable[[socket.socket], None]


def http1(connected: socket.socket) -> None:
    connected.recv(100)
    connected.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connected.recv(100)


def http1_alone(connected: socket.socket) -> None:
    """Closes on anything else."""
    if connected.recv(1000).startswith(b"HEAD / HTTP/1.0"):
        connected.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")


def says(first: bytes) -> Answer:
    def answer(connected: socket.socket) -> None:
        connected.sendall(first)
        while connected.recv(100):
            pass

    return answer


def closes(connected: socket.socket) -> None:
    connected.recv(1000)


def waits(connected: socket.socket) -> None:
    while connected.recv(1000):
        pass


http2 = says(frames.settings({}))


def encrypted(context: ssl.SSLContext, then: Answer = http2) -> Answer:
    def answer(connected: socket.socket) -> None:
        with context.wrap_socket(connected, server_side=True) as inner:
            then(inner)

    return answer


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Yields HOST:PORT; each connection gets `answer` in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connected: socket.socket) -> None:
            connected.settimeout(10)
            with suppress(OSError, ValueError), connected:
                answer(connected)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
