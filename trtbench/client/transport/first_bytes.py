"""The first bytes of a server, to TLS, to HTTP/2 and to HTTP/1: which of them it speaks, whatever was expected."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from trtbench.client.http2 import frames
from trtbench.client.transport.address import AddressError, TimeLimit, connect
from trtbench.system.foreign_text import shown

Protocol = Literal["http2", "http1"]
Kind = Literal["http2", "http1", "tls", "silent", "closed", "reset", "other"]

SECOND_LOOK_S = 0.8
"""For a second connection of another kind; a server that matters answers it at once."""
_OPENINGS: dict[Protocol, bytes] = {"http2": frames.OPENING, "http1": b"HEAD / HTTP/1.0\r\n\r\n"}
_OTHER: dict[Protocol, Protocol] = {"http2": "http1", "http1": "http2"}
_HTTP1 = b"HTTP/"
_SHOWN_BYTES = 60
_READ_BYTES = 4096
_SETTINGS_BYTES = 6  # the length of one setting


@dataclass(frozen=True)
class Greeting:
    """The first bytes of a server, by kind; `text` is the part that can be displayed."""

    kind: Kind
    text: str = ""


def greet(connected: socket.socket, protocol: Protocol, limit: TimeLimit) -> Greeting:
    """Open a protocol and read the answer: of HTTP/2 up to the header of the first frame."""
    received = b""
    try:
        connected.settimeout(limit.left_s)
        connected.sendall(_OPENINGS[protocol])
        while _is_too_short(received):
            connected.settimeout(limit.left_s)
            part = connected.recv(_READ_BYTES)
            if not part:
                break
            received += part
    except ssl.SSLError as error:
        return Greeting("tls", str(error.reason or error))
    except TimeoutError:
        return Greeting("other", _first(received)) if received else Greeting("silent")
    except OSError as error:  # a reset; what was received before it may be the reason
        return _recognise(received) if received else Greeting("reset", error.strerror or "")
    return _recognise(received)


def greet_otherwise(url: str, protocol: Protocol) -> Greeting:
    """The answer to the other protocol, from a server that closes connections of `protocol`, as Triton's HTTP port does to HTTP/2."""
    limit = TimeLimit(SECOND_LOOK_S)
    try:
        with closing(connect(url, limit)) as connected:
            greeting = greet(connected, _OTHER[protocol], limit)
    except AddressError:
        return Greeting("closed")
    return greeting if greeting.kind == _OTHER[protocol] else Greeting("closed")


def speaks_tls(url: str, alpn: str) -> bool:
    """Whether a server answers a second connection, which begins with TLS, with a certificate or an alert of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    limit = TimeLimit(SECOND_LOOK_S)
    try:
        with closing(connect(url, limit)) as connected:
            connected.settimeout(limit.left_s)
            context.wrap_socket(connected).close()
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (AddressError, OSError):
        return False
    return True


def _is_too_short(received: bytes) -> bool:
    """Whether these first bytes may still become an answer of either protocol."""
    return _HTTP1.startswith(received) or (len(received) < frames.HEADER_BYTES and _may_be_settings(received))


def _recognise(received: bytes) -> Greeting:
    if not received:
        return Greeting("closed")
    if received[:2] == b"\x15\x03":
        return Greeting("tls")
    if received.startswith(_HTTP1):
        return Greeting("http1", _first(received))
    whole = len(received) >= frames.HEADER_BYTES
    return Greeting("http2") if whole and _may_be_settings(received) else Greeting("other", _first(received))


def _may_be_settings(received: bytes) -> bool:
    """Whether these first bytes may be those of SETTINGS on stream 0: a length of whole settings, kind 4, no acknowledgement."""
    if len(received) < frames.HEADER_BYTES:
        return received[:1] in (b"", b"\0")
    word, flags, stream_id = frames.HEADER.unpack_from(received)
    length = word >> 8
    plausible = length <= frames.MAX_FRAME_BYTES and not length % _SETTINGS_BYTES
    return plausible and word & 0xFF == frames.SETTINGS and not flags & frames.ACK and not stream_id


def _first(received: bytes) -> str:
    line = received[:_SHOWN_BYTES].partition(b"\r\n")[0]
    return shown(line.decode("ascii", "backslashreplace"), _SHOWN_BYTES) or repr(received[:8])[1:]
