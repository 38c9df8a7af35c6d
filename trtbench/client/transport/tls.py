"""TLS from a scenario's files: for grpc, and for connections of our own over raw reads, so that kernel stamps exist under TLS too."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from trtbench.errors import UserError
from trtbench.scenario.load.client_settings import Tls

_RECORD_BYTES = 1 << 16  # more than one TLS record holds


def channel_credentials(tls: Tls) -> grpc.ChannelCredentials:
    """UserError when a file cannot be read."""
    system = ssl.get_default_verify_paths().cafile
    ca = tls.ca or (Path(system) if system else None)
    return grpc.ssl_channel_credentials(_pem(ca, "ca"), _pem(tls.key, "key"), _pem(tls.certificate, "certificate"))


def client_context(tls: Tls) -> ssl.SSLContext:
    """A context that asks for HTTP/2. UserError when a file cannot be read or is not what it should be."""
    for path, key in ((tls.ca, "ca"), (tls.key, "key"), (tls.certificate, "certificate")):
        _pem(path, key)
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except ssl.SSLError as error:
        raise UserError(f"client.tls.ca: {tls.ca} holds no PEM certificate ({error.reason})") from error
    if tls.certificate and tls.key:
        try:
            context.load_cert_chain(tls.certificate, tls.key)
        except ssl.SSLError as error:
            raise UserError(
                f"client.tls.certificate, client.tls.key: {tls.certificate} and {tls.key} are no PEM pair ({error.reason}): "
                "give the client's certificate and the private key it was made for"
            ) from error
    context.set_alpn_protocols(["h2"])
    return context


class TlsSession:
    """One connection's TLS: encrypted bytes in and out, no socket. ssl.SSLError where the peers do not agree."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    @property
    def protocol(self) -> str | None:
        """What ALPN chose."""
        return self._object.selected_alpn_protocol()

    def shake_hands(self, received: bytes = b"") -> bool:
        """Go on with the handshake; True when it is done. `take_output` after each step, one that failed too."""
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
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):  # no whole record left; the peer's last
                break
            if not part:
                break
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def encrypt(self, plain: bytes) -> bytes:
        """With what TLS itself has to say, even when there is nothing to encrypt."""
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
