"""Greeting: the first bytes of a server, to TLS and to HTTP/2, and whether they are those of a gRPC server.

The gRPC library reports every wrong address with the same message, after its whole time limit. Here the server's first bytes distinguish
a dozen mistakes, each of which has its own message and remedy.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from trtbench.client.http2 import frames
from trtbench.client.protocol import ConnectError
from trtbench.client.transport.address import AddressError, TimeLimit, connect, host_and_port
from trtbench.client.transport.tls import client_context
from trtbench.scenario.load.client_settings import ClientSettings, Tls
from trtbench.system.foreign_text import shown

Kind = Literal["http2", "http1", "tls", "silent", "closed", "reset", "other"]

_SHOWN_BYTES = 60
_READ_BYTES = 4096
_SETTINGS_BYTES = 6  # the length of one setting
_SECOND_LOOK_S = 0.8  # for a second connection of another kind; a server that matters answers it at once
_GRPC_PORT = "give the gRPC port in --url (8001 by default; 8000 is HTTP, 8002 metrics)"
_NO_TLS = "leave out --tls and grpcs:// (client.tls)"
_ANY_TLS = "--tls or grpcs:// (client.tls), with --tls-ca for certificates of a private authority"
_CERTIFICATE = "--tls-cert and --tls-key (client.tls.certificate, client.tls.key)"


@dataclass(frozen=True)
class Greeting:
    """The first bytes of a server, by kind; `text` is the part that can be displayed."""

    kind: Kind
    text: str = ""


def check_address(url: str, settings: ClientSettings, timeout_s: float = 5.0) -> None:
    """Return if a server at `url` speaks HTTP/2 in the way that `settings` request; AddressError says what answers there instead.

    UserError if a file of `settings.tls` cannot be used. It blocks up to about `timeout_s` + 1 s; most mistakes are found at once.
    """
    context = client_context(settings.tls, "h2") if settings.tls else None
    limit = TimeLimit(timeout_s)
    with closing(connect(url, limit)) as connected:
        if context is None or settings.tls is None:
            fault = _plain_fault(url, _greet(connected, limit), limit)
        else:
            fault = _encrypted_fault(url, connected, context, settings.tls, limit)
    if fault:
        raise AddressError(f"{url}: {fault}")


def explain(url: str, settings: ClientSettings, timeout_s: float = 5.0) -> str:
    """What `check_address` finds wrong; empty if it finds nothing, or if this process cannot open another file."""
    try:
        check_address(url, settings, timeout_s)
    except AddressError as error:
        return str(error)
    except OSError:
        return ""
    return ""


async def unreachable(url: str, settings: ClientSettings, fault: str) -> ConnectError:
    """The error of a server that was not reached: what answers at its address now, or `fault` if nothing is wrong with that."""
    found = await asyncio.to_thread(explain, url, settings)
    return ConnectError(found or f"{url}: {fault}")


def _plain_fault(url: str, greeting: Greeting, limit: TimeLimit) -> str:
    """What is wrong with a server on a connection without TLS; empty if it speaks HTTP/2."""
    if greeting.kind == "http2":
        return ""
    if greeting.kind == "tls" or (greeting.kind in ("http1", "closed", "reset") and _speaks_tls(url)):
        return f"the server speaks TLS and the connection is not encrypted: add {_ANY_TLS}"
    return _not_grpc(_asked_in_http1(url) if greeting.kind in ("closed", "reset") else greeting, limit)


def _encrypted_fault(url: str, connected: socket.socket, context: ssl.SSLContext, tls: Tls, limit: TimeLimit) -> str:
    """What is wrong with a server on a connection with TLS; empty if it speaks HTTP/2 and accepts this client."""
    connected.settimeout(limit.left_s)
    name = tls.server_name or host_and_port(url)[0]
    try:
        encrypted = context.wrap_socket(connected, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        return _certificate_fault(error, name)
    except ValueError as error:
        return f"{shown(name)} cannot be a certificate's name ({shown(str(error))}): correct --tls-server-name (client.tls.server_name)"
    except (ssl.SSLError, OSError) as error:
        return _alert(error, tls) or _no_tls(url, error, limit)
    with closing(encrypted):
        protocol = encrypted.selected_alpn_protocol()
        if protocol == "h2":
            return _after_handshake(_greet(encrypted, limit), tls, limit)
    return f"the server speaks TLS but offers no HTTP/2 (ALPN: {protocol or 'none'}), as an HTTPS server does: {_GRPC_PORT}"


def _after_handshake(greeting: Greeting, tls: Tls, limit: TimeLimit) -> str:
    """What is wrong after the TLS handshake: in TLS 1.3 a server refuses the client's certificate only then."""
    if greeting.kind == "http2":
        return ""
    if greeting.kind == "tls" and (alert := _alert_text(greeting.text, tls)):
        return alert
    if greeting.kind in ("closed", "reset", "tls"):
        if tls.certificate is None:
            return f"the server ended the connection after the TLS handshake: it requires a client certificate; give {_CERTIFICATE}"
        return f"the server ended the connection after the TLS handshake: it does not accept the client certificate in {_CERTIFICATE}"
    return _not_grpc(greeting, limit)


def _no_tls(url: str, error: OSError, limit: TimeLimit) -> str:
    """Why a handshake failed without an alert of TLS, by what the server answers on a connection without TLS."""
    if isinstance(error, TimeoutError):
        return _not_grpc(Greeting("silent"), limit)
    second = TimeLimit(_SECOND_LOOK_S)
    try:
        with closing(connect(url, second)) as connected:
            greeting = _greet(connected, second)
    except AddressError:
        greeting = Greeting("closed")
    if greeting.kind in ("closed", "reset"):
        greeting = _asked_in_http1(url)
    if greeting.kind == "http2":
        return f"the server speaks gRPC without TLS, and TLS was requested: {_NO_TLS}"
    if greeting.kind in ("http1", "other"):
        return f"the server does not speak TLS; {_not_grpc(greeting, limit)}"
    reason = getattr(error, "reason", None) or error.strerror or "connection closed"
    return f"the TLS handshake failed ({shown(str(reason))}): does the server speak TLS? If not, {_NO_TLS}"


def _speaks_tls(url: str) -> bool:
    """Whether a server answers a second connection, which begins with TLS, with a certificate or an alert of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    limit = TimeLimit(_SECOND_LOOK_S)
    try:
        with closing(connect(url, limit)) as connected:
            connected.settimeout(limit.left_s)
            context.wrap_socket(connected).close()
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (AddressError, OSError):
        return False
    return True


def _asked_in_http1(url: str) -> Greeting:
    """The answer to a request of HTTP/1 from a server that closes HTTP/2 connections, as Triton's HTTP port does."""
    limit = TimeLimit(_SECOND_LOOK_S)
    try:
        with closing(connect(url, limit)) as connected:
            connected.settimeout(limit.left_s)
            connected.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            received = connected.recv(_READ_BYTES)
    except (AddressError, OSError):
        received = b""
    return Greeting("http1", _first(received)) if received[:5] == b"HTTP/" else Greeting("closed")


def _greet(connected: socket.socket, limit: TimeLimit) -> Greeting:
    """Open HTTP/2 and read the answer, up to the header of the first frame."""
    received = b""
    try:
        connected.settimeout(limit.left_s)
        connected.sendall(frames.OPENING)
        while len(received) < frames.HEADER_BYTES and _may_be_settings(received):
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


def _recognise(received: bytes) -> Greeting:
    if not received:
        return Greeting("closed")
    if received[:2] == b"\x15\x03":
        return Greeting("tls")
    if received[:5] == b"HTTP/":
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


def _not_grpc(greeting: Greeting, limit: TimeLimit) -> str:
    if greeting.kind == "http1":
        return f"an HTTP/1 server answers there ({greeting.text}), not gRPC: {_GRPC_PORT}"
    if greeting.kind == "silent":
        return (
            f"the server accepts the connection and sends nothing in {limit.limit_s:g} s, so it is not a gRPC server, or it hangs: "
            f"{_GRPC_PORT}"
        )
    if greeting.kind in ("closed", "reset"):
        return f"the server closes the connection at once, as a proxy without a server behind it does: {_GRPC_PORT}"
    return f"the server's first bytes are not HTTP/2 ({greeting.text}): {_GRPC_PORT}"


def _certificate_fault(error: ssl.SSLCertVerificationError, name: str) -> str:
    """What is wrong with the server's certificate, by the codes of OpenSSL's x509_vfy.h."""
    start = f"the server's certificate is not trusted ({shown(error.verify_message, 200)})"
    if error.verify_code == 10:
        return f"{start}: it has expired; renew it on the server (the clock of this machine is the other possible cause)"
    if error.verify_code == 9:
        return f"{start}: it is not valid yet; correct the certificate or this machine's clock"
    if error.verify_code in (62, 63, 64):
        return f"{start}: it is for another name than {shown(name)}; give that name as --tls-server-name (client.tls.server_name)"
    if error.verify_code in (18, 19):
        return f"{start}: it is self-signed; give the certificate of its authority (or itself) as --tls-ca (client.tls.ca)"
    if error.verify_code in (2, 20, 21):
        return f"{start}: its authority is unknown here; give the authority's certificate as --tls-ca (client.tls.ca)"
    return f"{start}: give the authority's certificate as --tls-ca (client.tls.ca), or renew the server's"


def _alert(error: OSError, tls: Tls) -> str:
    return _alert_text(str(error.reason or ""), tls) if isinstance(error, ssl.SSLError) else ""


def _alert_text(reason: str, tls: Tls) -> str:
    """What an alert of TLS from the server means; empty for any other reason."""
    if "CERTIFICATE_REQUIRED" in reason or ("HANDSHAKE_FAILURE" in reason and tls.certificate is None):
        return f"the server requires a client certificate ({reason}): give {_CERTIFICATE}"
    if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")):
        return f"the server does not accept the client certificate ({reason}): give one that it trusts as {_CERTIFICATE}"
    if "NO_APPLICATION_PROTOCOL" in reason:
        return f"the server speaks TLS but not HTTP/2 ({reason}), so it is not a gRPC server: {_GRPC_PORT}"
    if "PROTOCOL_VERSION" in reason:
        return f"the server supports no version of TLS that this machine supports ({reason}): allow TLS 1.2 or 1.3 on the server"
    return f"the server refused the TLS handshake ({reason})" if "ALERT" in reason else ""


def _first(received: bytes) -> str:
    line = received[:_SHOWN_BYTES].partition(b"\r\n")[0]
    return shown(line.decode("ascii", "backslashreplace"), _SHOWN_BYTES) or repr(received[:8])[1:]
