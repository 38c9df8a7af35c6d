"""What answers at an address at which a server of HTTP is expected."""

from __future__ import annotations

import re
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from tests.support.fakes import first_answers as first
from trtbench.client.http1.http_wire import HTTP
from trtbench.client.transport.greeting import check_address, explain
from trtbench.scenario.load.client_settings import ClientSettings, Tls

pytestmark = [pytest.mark.process, pytest.mark.timeout(30)]

PLAIN = ClientSettings()
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def model_server(connected: socket.socket) -> None:
    """Answers a request when it has come, as vLLM does, and closes on anything else."""
    if connected.recv(1000).startswith(b"HEAD / HTTP/1"):
        connected.sendall(NOT_FOUND)


def grpc_alone(connected: socket.socket) -> None:
    """Speaks when it has read the opening of HTTP/2, and closes on anything else."""
    if connected.recv(1000).startswith(b"PRI * HTTP/2.0"):
        connected.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        connected.recv(1000)


@pytest.fixture(scope="module")
def encrypting(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ClientSettings]:
    """The context of a server that negotiates no protocol, as uvicorn does, and the settings of a client that trusts it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(ca := tmp_path_factory.mktemp("ca") / "ca.pem")
    return context, ClientSettings(tls=Tls(ca=Path(ca)))


def refused(answer: first.Answer, settings: ClientSettings, timeout_s: float = 5.0) -> str:
    with first.answering(answer) as url:
        said = explain(url, HTTP, settings, timeout_s)
        assert said.startswith(f"{url}: ") and "\n" not in said
        return said.removeprefix(f"{url}: ")


def test_a_server_that_speaks_http(encrypting: tuple[ssl.SSLContext, ClientSettings]) -> None:
    context, trusting = encrypting
    for answer, settings in ((model_server, PLAIN), (first.http1, PLAIN), (first.encrypted(context, model_server), trusting)):
        with first.answering(answer) as url:
            check_address(url, HTTP, settings)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (first.http2, "a server that speaks only HTTP/2 answers there, as of gRPC, not HTTP/1.1: give the HTTP port in --url"),
        (grpc_alone, "a server that speaks only HTTP/2 answers there"),
        (first.closes, "the server closes the connection at once"),
        (first.says(b"SSH-2.0-OpenSSH_9.6\r\n"), r"first bytes are not HTTP/1.1 \(SSH-2.0-OpenSSH_9.6\): give the HTTP port"),
    ],
)
def test_servers_of_other_kinds(answer: first.Answer, says: str) -> None:
    assert re.search(says, refused(answer, PLAIN))


def test_nothing_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        said = explain(f"127.0.0.1:{bound.getsockname()[1]}", HTTP, PLAIN)
    assert "no program listens on this port: start the server, or correct --url (vLLM, trtllm-serve and Triton" in said


def test_a_silent_server() -> None:
    assert "sends nothing in 0.2 s, so it is not a server of HTTP" in refused(first.waits, PLAIN, timeout_s=0.2)


def test_an_encrypted_server_spoken_to_plain(encrypting: tuple[ssl.SSLContext, ClientSettings]) -> None:
    """Some close, and web servers answer with the status 400."""
    context, _ = encrypting

    def web_server(connected: socket.socket) -> None:
        if connected.recv(1, socket.MSG_PEEK) == b"\x16":
            first.encrypted(context, model_server)(connected)
        else:
            first.http1(connected)

    for answer in (first.encrypted(context, model_server), web_server):
        said = refused(answer, PLAIN)
        assert said.startswith("the server speaks TLS and the connection is not encrypted: write https:// in --url")


def test_a_plain_server_spoken_to_encrypted(encrypting: tuple[ssl.SSLContext, ClientSettings]) -> None:
    _, trusting = encrypting
    said = refused(model_server, trusting)
    assert said == "the server speaks HTTP without TLS, and TLS was requested: write http:// in --url (leave out client.tls)"
    assert "does not speak TLS; a server that speaks only HTTP/2" in refused(grpc_alone, trusting)


def test_a_self_signed_certificate(tmp_path: Path) -> None:
    """One without an authority, as `openssl req -x509` makes it."""
    authority = trustme.CA()
    (tmp_path / "own.pem").write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    said = refused(first.encrypted(context, model_server), ClientSettings(tls=Tls()))
    assert re.search(r"not trusted .*: it is self-signed; give .* as --tls-ca", said)
