"""Greeting: whether a server speaks the protocol that is expected of it, by its first bytes to TLS and to that protocol.

Libraries report every wrong address with the same message, the one of gRPC after its whole time limit. Here the server's first bytes
distinguish a dozen mistakes, each of which has its own message and remedy.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import closing

from trtbench.client.protocol import ConnectError
from trtbench.client.transport.address import AddressError, TimeLimit, connect, host_and_port
from trtbench.client.transport.first_bytes import SECOND_LOOK_S, Greeting, greet, greet_otherwise, speaks_tls
from trtbench.client.transport.tls import client_context
from trtbench.client.transport.tls_faults import CERTIFICATE_KEYS, alert_fault, certificate_fault
from trtbench.client.wire import Spoken
from trtbench.scenario.load.client_settings import ClientSettings, Tls
from trtbench.system.foreign_text import shown

_BAD_REQUEST = " 400 "


def check_address(url: str, spoken: Spoken, settings: ClientSettings, timeout_s: float = 5.0) -> None:
    """Return if a server at `url` speaks what it has to, in the way that `settings` request; AddressError says what answers there instead.

    UserError if a file of `settings.tls` cannot be used. It blocks up to about `timeout_s` + 1 s; most mistakes are found at once.
    """
    context = client_context(settings.tls, spoken.alpn) if settings.tls else None
    limit = TimeLimit(timeout_s)
    with closing(connect(url, limit, spoken.default_port)) as connected:
        if context is None or settings.tls is None:
            fault = _plain_fault(url, spoken, greet(connected, spoken.protocol, limit), limit)
        else:
            fault = _encrypted_fault(url, spoken, connected, context, settings.tls, limit)
    if fault:
        raise AddressError(f"{url}: {fault}")


def explain(url: str, spoken: Spoken, settings: ClientSettings, timeout_s: float = 5.0) -> str:
    """What `check_address` finds wrong; empty if it finds nothing, or if this process cannot open another file."""
    try:
        check_address(url, spoken, settings, timeout_s)
    except AddressError as error:
        return str(error)
    except OSError:
        return ""
    return ""


async def unreachable(url: str, spoken: Spoken, settings: ClientSettings, fault: str) -> ConnectError:
    """The error of a server that was not reached: what answers at its address now, or `fault` if nothing is wrong with that."""
    found = await asyncio.to_thread(explain, url, spoken, settings)
    return ConnectError(found or f"{url}: {fault}")


def _plain_fault(url: str, spoken: Spoken, greeting: Greeting, limit: TimeLimit) -> str:
    """What is wrong with a server on a connection without TLS; empty if it speaks what it has to."""
    refuses = greeting.kind == "http1" and (spoken.protocol != "http1" or _BAD_REQUEST in greeting.text)  # web servers: "use https"
    if greeting.kind == "tls" or ((refuses or greeting.kind in ("closed", "reset")) and speaks_tls(url, spoken.alpn)):
        return f"the server speaks TLS and the connection is not encrypted: {spoken.with_tls}"
    if greeting.kind == spoken.protocol:
        return ""
    return _otherwise(spoken, greet_otherwise(url, spoken.protocol) if greeting.kind in ("closed", "reset") else greeting, limit)


def _encrypted_fault(url: str, spoken: Spoken, connected: socket.socket, context: ssl.SSLContext, tls: Tls, limit: TimeLimit) -> str:
    """What is wrong with a server on a connection with TLS; empty if it speaks what it has to and accepts this client."""
    connected.settimeout(limit.left_s)
    name = tls.server_name or host_and_port(url)[0]
    try:
        encrypted = context.wrap_socket(connected, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        return certificate_fault(error, name)
    except ValueError as error:
        return f"{shown(name)} cannot be a certificate's name ({shown(str(error))}): correct --tls-server-name (client.tls.server_name)"
    except (ssl.SSLError, OSError) as error:
        return alert_fault(str(getattr(error, "reason", "")), tls, spoken) or _no_tls(url, spoken, error, limit)
    with closing(encrypted):
        protocol = encrypted.selected_alpn_protocol()
        if protocol == spoken.alpn or not (protocol or spoken.alpn_required):
            return _after_handshake(spoken, greet(encrypted, spoken.protocol, limit), tls, limit)
    return f"the server speaks TLS but offers no {spoken.version} (ALPN: {protocol or 'none'}): {spoken.port}"


def _after_handshake(spoken: Spoken, greeting: Greeting, tls: Tls, limit: TimeLimit) -> str:
    """What is wrong after the TLS handshake: in TLS 1.3 a server refuses the client's certificate only then."""
    if greeting.kind == spoken.protocol:
        return ""
    if greeting.kind == "tls" and (alert := alert_fault(greeting.text, tls, spoken)):
        return alert
    if greeting.kind in ("closed", "reset", "tls"):
        if tls.certificate is None:
            return f"the server ended the connection after the TLS handshake: it requires a client certificate; give {CERTIFICATE_KEYS}"
        return f"the server ended the connection after the TLS handshake: it does not accept the client certificate in {CERTIFICATE_KEYS}"
    return _otherwise(spoken, greeting, limit)


def _no_tls(url: str, spoken: Spoken, error: OSError, limit: TimeLimit) -> str:
    """The reason why a handshake failed without an alert of TLS, by what the server answers on a connection without TLS."""
    if isinstance(error, TimeoutError):
        return _otherwise(spoken, Greeting("silent"), limit)
    second = TimeLimit(SECOND_LOOK_S)
    try:
        with closing(connect(url, second)) as connected:
            greeting = greet(connected, spoken.protocol, second)
    except AddressError:
        greeting = Greeting("closed")
    if greeting.kind in ("closed", "reset"):
        greeting = greet_otherwise(url, spoken.protocol)
    if greeting.kind == spoken.protocol:
        return f"the server speaks {spoken.service} without TLS, and TLS was requested: {spoken.without_tls}"
    if greeting.kind in ("http1", "http2", "other"):
        return f"the server does not speak TLS; {_otherwise(spoken, greeting, limit)}"
    reason = getattr(error, "reason", None) or error.strerror or "connection closed"
    return f"the TLS handshake failed ({shown(str(reason))}): does the server speak TLS? If not, {spoken.without_tls}"


def _otherwise(spoken: Spoken, greeting: Greeting, limit: TimeLimit) -> str:
    if greeting.kind == "http1":
        return f"an HTTP/1 server answers there ({greeting.text}), not {spoken.service}: {spoken.port}"
    if greeting.kind == "http2":
        return f"a server that speaks only HTTP/2 answers there, as of gRPC, not {spoken.version}: {spoken.port}"
    if greeting.kind == "silent":
        silence = f"the server accepts the connection and sends nothing in {limit.limit_s:g} s"
        return f"{silence}, so it is not a server of {spoken.service}, or it hangs: {spoken.port}"
    if greeting.kind in ("closed", "reset"):
        return f"the server closes the connection at once, as a proxy without a server behind it does: {spoken.port}"
    return f"the server's first bytes are not {spoken.version} ({greeting.text}): {spoken.port}"
