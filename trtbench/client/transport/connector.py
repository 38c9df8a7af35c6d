"""Connector: opens connections to the server, through name resolution, TCP, TLS and the opening of the protocol."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from trtbench.client.transport import kernel_timestamps
from trtbench.client.transport.connection import Connection, TransportError
from trtbench.client.transport.kernel_timestamps import KernelStamps
from trtbench.client.transport.read_pacer import ReadPacer
from trtbench.client.transport.tls import TlsSession, client_context
from trtbench.client.wire import WireKind
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.system.clock import seconds_ns

_STEP_S = 5.0  # the longest wait in each step
_READ_BYTES = 1 << 16
_FOR_EVER_NS = 1 << 62
_PROBES = 4
_T = TypeVar("_T")


class Connector:
    """Opens connections to `url`, which is host:port with an IPv6 host in brackets.

    UserError if a file of `settings.tls` cannot be used.
    """

    def __init__(
        self, url: str, settings: ClientSettings, kernel_stamps: KernelStamps | None, pacer: ReadPacer | None, wires: WireKind
    ) -> None:
        self.url = url
        self._wires = wires
        host, _, self._port = url.rpartition(":")
        self._host = host.strip("[]")
        self._stamps, self._pacer = kernel_stamps, pacer
        self._silence_ns = seconds_ns(settings.keepalive_s) if wires.pings else _FOR_EVER_NS
        self._probe_s = None if wires.pings else max(1, round(settings.keepalive_s))
        self._context = client_context(settings.tls, wires.spoken.alpn) if settings.tls else None
        self._name = settings.tls.server_name if settings.tls and settings.tls.server_name else None
        self._addresses: list[tuple[int, Any]] = []
        self._hint = f"is this its {wires.spoken.service} port?"
        if settings.tls is None:
            self._hint = f"does it want TLS (client.tls), or {self._hint}"
        elif settings.tls.certificate is None:
            self._hint = f"does it want a client's certificate (client.tls.certificate), or {self._hint}"

    async def connect(self, on_free: Callable[[Connection], None]) -> Connection:
        """A connection whose server accepts requests. TransportError names the step that failed, and the reason."""
        connected = await self._connect()
        try:
            tls = await _in_time(self._shake_hands(connected, self._context), "TLS handshake") if self._context else None
        except BaseException:
            connected.close()
            raise
        wire = self._wires.open(self._name or self.url, "https" if tls else "http")
        connection = Connection(connected, wire, self._stamps, tls, self._silence_ns, on_free, self._pacer)
        try:
            await _in_time(connection.ready, f"{self._wires.spoken.version} settings")
        except TransportError as error:
            connection.lose("given up before it was ready")
            raise TransportError(f"no {self._wires.spoken.version} with {self.url}: {error}; {self._hint}") from error
        except BaseException:
            connection.lose("given up before it was ready")
            raise
        if not connection.room(1):
            connection.lose("the server allows no stream on a new connection")
            raise TransportError(connection.cause)
        return connection

    async def _connect(self) -> socket.socket:
        """A TCP connection to the first address that answers."""
        if not self._addresses:
            self._addresses = await self._resolve()
        fault = ""
        for family, address in self._addresses:
            connecting = socket.socket(family, socket.SOCK_STREAM)
            try:
                connecting.setblocking(False)
                connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._stamps:
                    kernel_timestamps.enable(connecting)
                if self._probe_s:
                    _probe_silent(connecting, self._probe_s)
                await _in_time(asyncio.get_running_loop().sock_connect(connecting, address), "TCP connection")
                return connecting
            except (OSError, TransportError) as error:
                connecting.close()
                fault = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            except BaseException:
                connecting.close()
                raise
        raise TransportError(f"failed to connect to {self.url}: {fault}")

    async def _resolve(self) -> list[tuple[int, Any]]:
        try:
            found = asyncio.get_running_loop().getaddrinfo(self._host, int(self._port), type=socket.SOCK_STREAM)
            return [(family, address) for family, _, _, _, address in await _in_time(found, "DNS")]
        except socket.gaierror as error:
            raise TransportError(f"DNS: the host of {self.url} has no address ({error.strerror})") from error
        except ValueError as error:
            raise TransportError(f"{self.url} is not host:port") from error

    async def _shake_hands(self, connected: socket.socket, context: ssl.SSLContext) -> TlsSession:
        loop = asyncio.get_running_loop()
        session = TlsSession(context, self._name or self._host)
        try:
            received = b""
            while not session.shake_hands(received):
                await loop.sock_sendall(connected, session.take_output())
                received = await loop.sock_recv(connected, _READ_BYTES)
                if not received:
                    raise TransportError("TLS: the server closed the connection in the handshake: does it speak TLS?")
            await loop.sock_sendall(connected, session.take_output())
        except ssl.SSLError as error:
            raise TransportError(f"TLS: {_explain(error)}") from error
        except OSError as error:
            raise TransportError(f"TLS: the connection broke in the handshake ({error.strerror or error})") from error
        spoken = self._wires.spoken
        if session.protocol != spoken.alpn and (session.protocol or spoken.alpn_required):
            chosen = session.protocol or "nothing"
            raise TransportError(
                f"TLS: the server does not offer {spoken.version} (ALPN chose {chosen}): is this its {spoken.service} port?"
            )
        return session


def _probe_silent(connecting: socket.socket, silence_s: int) -> None:
    """Have the kernel probe the connection after `silence_s` without data, and break it if nothing answers as long again."""
    connecting.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", silence_s), ("TCP_KEEPINTVL", max(1, silence_s // _PROBES)), ("TCP_KEEPCNT", _PROBES)):
        if hasattr(socket, name):
            connecting.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _in_time(step: Awaitable[_T], name: str) -> _T:
    try:
        return await asyncio.wait_for(step, _STEP_S)
    except asyncio.TimeoutError as error:  # not an OSError before Python 3.11
        raise TransportError(f"{name}: no answer within {_STEP_S:g} s") from error


def _explain(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted ({error.verify_message})"
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return f"the server does not speak TLS ({error.reason})"
    return str(error.reason or error)
