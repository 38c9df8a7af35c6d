"""TLS with the files of a scenario, for grpc and for trtbench's own connections; these decrypt what they read from the socket themselves,
so that kernel timestamps are available under TLS too.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from trtbench.errors import UserError
from trtbench.scenario.load.client_settings import Tls

_RECORD_BYTES = 1 << 16  # more than one TLS record holds


def channel_credentials(tls: Tls) -> grpc.ChannelCredentials:
    """The credentials of a channel of grpc; UserError if a file cannot be read."""
    system = ssl.get_default_verify_paths().cafile
    ca = tls.ca or (Path(system) if system else None)
    return grpc.ssl_channel_credentials(_pem(ca, "ca"), _pem(tls.key, "key"), _pem(tls.certificate, "certificate"))


def client_context(tls: Tls, alpn: str) -> ssl.SSLContext:
    """A context that requests the protocol `alpn`; UserError if a file cannot be read or has the wrong content."""
    for path, key in ((tls.ca, "ca"), (tls.key, "key"), (tls.certificate, "certificate")):
        _pem(path, key)
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except ssl.SSLError as error:
        raise UserError(f"client.tls.ca: {tls.ca} contains no PEM certificate ({error.reason})") from error
    if tls.certificate and tls.key:
        try:
            context.load_cert_chain(tls.certificate, tls.key)
        except ssl.SSLError as error:
            raise UserError(
                f"client.tls.certificate, client.tls.key: {tls.certificate} and {tls.key} are not a PEM pair ({error.reason}): "
                "give the client's certificate and the private key it was made for"
            ) from error
    context.set_alpn_protocols([alpn])
    return context


class TlsSession:
    """The TLS of one connection, without its socket: encrypted bytes go in and out. ssl.SSLError if the peers do not agree."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    @property
    def protocol(self) -> str | None:
        """The protocol that ALPN has chosen."""
        return self._object.selected_alpn_protocol()

    def shake_hands(self, received: bytes = b"") -> bool:
        """Continue the handshake; returns whether it is complete. `take_output` has to be sent after each step, also one that failed."""
        self._incoming.write(received)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self, received: bytes | memoryview) -> bytes:
        self._incoming.write(received)
        parts = []
        while True:
            try:
                part = self._object.read(_RECORD_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):  # the next record is not complete; the peer has closed
                break
            if not part:
                break
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def encrypt(self, plain: bytes) -> bytes:
        """The encrypted bytes, with those that TLS itself has to send; `plain` may be empty."""
        if plain:
            self._object.write(plain)
        return self.take_output()

    def take_output(self) -> bytes:
        return self._outgoing.read() if self._outgoing.pending else b""


def _pem(path: Path | None, key: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"client.tls.{key}: {path} cannot be read ({error.strerror}); give the path of a PEM file") from error
