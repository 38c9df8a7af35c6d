"""HTTP servers that answer GET in one way, right or wrong: for `first_answers.answering`."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable

PAGE = b'# TYPE nv_x gauge\nnv_inference_pending_request_count{model="demo",version="1"} 3\n'

Answer = Callable[[socket.socket], None]


def head(connected: socket.socket) -> str:
    """Read one request; its path."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connected.recv(4096)
        if not part:
            raise OSError("the client has gone")
        received += part
    return received.split(b" ")[1].decode()


def status(line: str, *headers: str, body: bytes = PAGE) -> Answer:
    def answer(connected: socket.socket) -> None:
        while True:
            head(connected)
            lines = [f"HTTP/1.1 {line}", f"Content-Length: {len(body)}", *headers, "", ""]
            connected.sendall("\r\n".join(lines).encode() + body)

    return answer


page = status("200 OK")
packed = status("200 OK", "Content-Encoding: gzip", body=gzip.compress(PAGE))
packed_bomb = status("200 OK", "Content-Encoding: gzip", body=gzip.compress(bytes(40 << 20), 1))
packed_torn = status("200 OK", "Content-Encoding: gzip", body=gzip.compress(PAGE)[:-12])
not_packed = status("200 OK", "Content-Encoding: gzip")


def redirects(to: str, host: str = "") -> Answer:
    """From any path but `to`; there the page is."""

    def answer(connected: socket.socket) -> None:
        while True:
            there = head(connected) == to
            start = "200 OK" if there else f"301 Moved Permanently\r\nLocation: {host}{to}"
            body = PAGE if there else b""
            connected.sendall(f"HTTP/1.1 {start}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    return answer


def circles(connected: socket.socket) -> None:
    while True:
        path = head(connected)
        connected.sendall(f"HTTP/1.1 302 Found\r\nLocation: {path}x\r\nContent-Length: 0\r\n\r\n".encode())


def endless(connected: socket.socket) -> None:
    head(connected)
    connected.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    line = b"nv_gpu_utilization 1\n" * 50_000
    while True:
        connected.sendall(line)


def endless_headers(connected: socket.socket) -> None:
    head(connected)
    connected.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connected.sendall(b"X-More: " + b"x" * 60_000 + b"\r\n")


def drips(connected: socket.socket) -> None:
    """A byte now and then: no single read takes long."""
    head(connected)
    connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(1000):
        connected.sendall(b"n")
        time.sleep(0.02)


def drips_headers(connected: socket.socket) -> None:
    head(connected)
    for _ in range(1000):
        connected.sendall(b"H")
        time.sleep(0.02)


def garbage(connected: socket.socket) -> None:
    head(connected)
    connected.sendall(b"\x1b[2Jgarbage\r\n\r\n")


def announces(start: bytes) -> Answer:
    """Headers, or the length of a chunk, that tell of more than will ever come."""

    def answer(connected: socket.socket) -> None:
        head(connected)
        connected.sendall(b"HTTP/1.1 200 OK\r\n" + start + PAGE)

    return answer


def torn(connected: socket.socket) -> None:
    head(connected)
    connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nnv_")


def closes(connected: socket.socket) -> None:
    head(connected)
