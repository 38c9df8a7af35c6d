"""One page over plain HTTP, bounded in bytes and in time even when the server sends slowly, never ends or redirects in a circle.

`page_check.py` checks before the load that there is a metrics page and that it can be read.
"""

from __future__ import annotations

import http.client
import socket
import zlib
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

from trtbench.system.clock import NS_PER_S, now_ns, seconds_ns
from trtbench.system.foreign_text import shown

MOST_BYTES = 32 << 20  # a page of thousands of models has some MiB
_MOST_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK_BYTES = 1 << 16


class PageError(OSError):
    """The page cannot be read; the message states what the server did instead."""


class _Bounded(socket.socket):
    """A connected socket whose reads end with PageError when the page's time or bytes are used up."""

    end_ns = 0
    left_bytes = 0
    limit_s = 0.0

    @classmethod
    def taking(cls, opened: socket.socket) -> _Bounded:
        """The connection of `opened`, which is closed without it."""
        return cls(opened.family, opened.type, opened.proto, opened.detach())

    def begin(self, limit_s: float) -> None:
        self.limit_s, self.end_ns, self.left_bytes = limit_s, now_ns() + seconds_ns(limit_s), MOST_BYTES
        self.settimeout(limit_s)

    def recv_into(self, *args: Any, **more: Any) -> int:
        left_s = (self.end_ns - now_ns()) / NS_PER_S
        if left_s <= 0:
            raise PageError(f"the page was not whole within {self.limit_s:g} s")
        self.settimeout(left_s)
        try:
            size = super().recv_into(*args, **more)
        except TimeoutError as error:
            raise PageError(f"the page was not whole within {self.limit_s:g} s (timed out)") from error
        self.left_bytes -= size
        if self.left_bytes < 0:
            raise PageError(f"the page has more than {MOST_BYTES >> 20} MiB")
        return size


class Page:
    """The page at `url` (http://HOST:PORT/PATH), its connection kept open; a redirect on the same host is followed, and remembered."""

    def __init__(self, url: str, limit_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"metrics URL {shown(url)}: write http://HOST:PORT/metrics; Triton serves this page over plain HTTP only")
        self._host, self._limit_s = parts.hostname, limit_s
        self._port, self._path = parts.port or 8002, _path(parts)
        self._connection: Any = self._connect()

    def read(self) -> str:
        """The whole text; PageError, OSError or http.client.HTTPException when it cannot be read (the next call connects again)."""
        try:
            for _ in range(_MOST_REDIRECTS + 1):
                response = self._get()
                if response.status not in _REDIRECTS:
                    return _text(response, self._path)
                self._follow(response)
        except (OSError, http.client.HTTPException, ValueError):
            self._connection.close()
            raise
        raise PageError(f"more than {_MOST_REDIRECTS} redirects, the last to {shown(self._path)}")

    def close(self) -> None:
        self._connection.close()

    def _get(self) -> http.client.HTTPResponse:
        if self._connection.sock is not None:
            with suppress(ConnectionResetError, BrokenPipeError):  # closed by the server since the last reading
                return self._ask()
            self._connection.close()
        return self._ask()

    def _ask(self) -> http.client.HTTPResponse:
        connection: Any = self._connection
        if connection.sock is None:
            connection.connect()
            connection.sock = _Bounded.taking(self._connection.sock)
        connection.sock.begin(self._limit_s)
        connection.request("GET", self._path, headers={"Accept-Encoding": "identity"})
        response: http.client.HTTPResponse = connection.getresponse()
        return response

    def _follow(self, response: http.client.HTTPResponse) -> None:
        target = response.getheader("Location") or ""
        here = f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}{self._path}"
        parts = urlsplit(urljoin(here, target))
        if parts.scheme != "http" or parts.hostname != self._host.lower():
            raise PageError(f"{self._path} redirects ({response.status}) to {shown(target) or 'nowhere'}: give the URL of the page itself")
        self._connection.close()
        self._port, self._path = parts.port or 80, _path(parts)
        self._connection = self._connect()

    def _connect(self) -> Any:
        return http.client.HTTPConnection(self._host, self._port, timeout=self._limit_s)


def _path(parts: Any) -> str:
    return f"{parts.path or '/metrics'}{f'?{parts.query}' if parts.query else ''}"


def _text(response: http.client.HTTPResponse, path: str) -> str:
    encoding = (response.getheader("Content-Encoding") or "identity").lower()
    if response.status != http.client.OK:
        response.read(_CHUNK_BYTES)  # usually the whole body, so that the connection can be used again
        if not response.isclosed():
            response.close()
            raise PageError(_said(response, path))
        raise http.client.HTTPException(_said(response, path))
    body = _whole(response)
    if encoding in ("gzip", "deflate"):
        body = _unpacked(body)
    elif encoding != "identity":
        raise PageError(f"{path} is encoded as {shown(encoding, 40)}, which was not asked for")
    return body.decode("utf-8", errors="replace")


def _whole(response: http.client.HTTPResponse) -> bytes:
    """Reads in pieces, so that memory is only taken for bytes that arrive, not for an announced length."""
    if (response.length or 0) > MOST_BYTES:
        raise PageError(f"the page has more than {MOST_BYTES >> 20} MiB")
    body = b"".join(iter(lambda: response.read(_CHUNK_BYTES), b""))
    if response.length:  # a read with a size does not report a page that is cut short
        raise http.client.IncompleteRead(body, response.length)
    return body


def _said(response: http.client.HTTPResponse, path: str) -> str:
    return f"{shown(path)} answered {response.status} {shown(response.reason, 100)}"


def _unpacked(body: bytes) -> bytes:
    """Decompresses gzip or zlib, up to the same bound as an uncompressed page."""
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        text = unpacking.decompress(body, MOST_BYTES)
    except zlib.error as error:
        raise PageError(f"the page is said to be compressed and is not ({error})") from error
    if unpacking.unconsumed_tail:
        raise PageError(f"the page has more than {MOST_BYTES >> 20} MiB")
    if not unpacking.eof:
        raise PageError("the compressed page ends before its end")
    return text
