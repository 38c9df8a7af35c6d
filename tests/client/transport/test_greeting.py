from __future__ import annotations

import datetime
import errno
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.fakes import first_answers as first
from trtbench.client.kserve.grpc_wires import GRPC
from trtbench.client.transport.address import AddressError
from trtbench.client.transport.greeting import check_address, explain
from trtbench.scenario.load.client_settings import ClientSettings, Tls

pytestmark = pytest.mark.process

PLAIN = ClientSettings()
PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    authority.cert_pem.write_to_path(path := tmp_path_factory.mktemp("ca") / "ca.pem")
    return path


def trusting(ca: Path | None, **more: Path | str) -> ClientSettings:
    return ClientSettings(tls=Tls.model_validate({"ca": ca, **more}))


def server_context(certificate: trustme.LeafCert, protocols: list[str] | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.set_alpn_protocols(["h2"] if protocols is None else protocols)
    return context


def refused(answer: first.Answer, settings: ClientSettings, timeout_s: float = 5.0) -> str:
    """What is wrong with the server, after its address."""
    with first.answering(answer) as url:
        said = explain(url, GRPC, settings, timeout_s)
        assert said.startswith(f"{url}: ")
        assert "\n" not in said
        return said.removeprefix(f"{url}: ")


def test_a_server_that_speaks_http2_plain_and_encrypted(authority: trustme.CA, ca: Path) -> None:
    with first.answering(first.http2) as url:
        check_address(url, GRPC, PLAIN)
    with first.answering(first.encrypted(server_context(authority.issue_cert("127.0.0.1")))) as url:
        check_address(url, GRPC, trusting(ca))


def test_a_closed_port() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        said = explain(f"127.0.0.1:{bound.getsockname()[1]}", GRPC, PLAIN)
    assert "connection refused, no program listens on this port: start the server, or correct --url" in said


def test_a_host_without_an_address() -> None:
    assert re.search(
        "^no-such-host.invalid:8001: the host has no address .*correct the host in --url$",
        explain("no-such-host.invalid:8001", GRPC, PLAIN),
    )


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (OSError(errno.EHOSTUNREACH, "No route to host"), r"the host cannot be reached \(No route to host\): correct the host in --url"),
        (TimeoutError("timed out"), "no answer to a TCP connection within 5 s: the host is down or a firewall drops the packets"),
        (PermissionError(errno.EPERM, "Operation not permitted"), r"failed to connect \(Operation not permitted\)"),
    ],
)
def test_a_host_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, fault: OSError, says: str) -> None:
    def connect(self: object, address: object) -> None:
        raise fault

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert re.search(says, explain("127.0.0.1:8001", GRPC, PLAIN))


@pytest.mark.parametrize(
    "url",
    ["localhost", ":8001", "localhost:", "localhost:grpc", "::1:8001", "localhost:0", "localhost:65536", "localhost:" + "9" * 5000, "a:²"],
)
def test_what_is_no_host_and_port(url: str) -> None:
    with pytest.raises(AddressError, match=r"--url .*(write HOST:PORT|is out of range)") as raised:
        check_address(url, GRPC, PLAIN)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (first.http1, r"an HTTP/1 server answers there \(HTTP/1.1 400 Bad Request\), not gRPC: give the gRPC port in --url"),
        (first.closes, "the server closes the connection at once"),
        (first.http1_alone, r"an HTTP/1 server answers there \(HTTP/1.0 400 Bad Request\)"),  # as Triton's HTTP port does
        (first.says(b"SSH-2.0-OpenSSH_9.6\r\n"), r"the server's first bytes are not HTTP/2 \(SSH-2.0-OpenSSH_9.6\)"),
        (first.says(b"\x1b]0;title\x07\xff\xfe" * 100), r"are not HTTP/2 \(\\x1b\]0;title"),
        (first.says(b"\0\0\x06\x01\0\0\0\0\0" + bytes(6)), "are not HTTP/2"),  # HEADERS come first
        (first.says(bytes(200)), "are not HTTP/2"),
    ],
)
def test_plain_servers_of_other_kinds(answer: first.Answer, says: str) -> None:
    assert re.search(says, refused(answer, PLAIN))


def test_a_server_that_accepts_and_never_speaks(ca: Path) -> None:
    for settings in (PLAIN, trusting(ca)):
        assert "the server accepts the connection and sends nothing in 0.2 s" in refused(first.waits, settings, timeout_s=0.2)


def test_a_server_that_begins_and_stops() -> None:
    assert "are not HTTP/2" in refused(first.says(b"\0\0\x06"), PLAIN, timeout_s=0.2)


def test_an_encrypted_server_spoken_to_plain(authority: trustme.CA) -> None:
    said = refused(first.encrypted(server_context(authority.issue_cert("127.0.0.1"))), PLAIN)
    assert said.startswith("the server speaks TLS and the connection is not encrypted: add --tls")


def test_a_plain_server_spoken_to_encrypted(ca: Path) -> None:
    said = refused(first.http2, trusting(ca))
    assert said == "the server speaks gRPC without TLS, and TLS was requested: leave out --tls and grpcs:// (client.tls)"
    assert refused(first.http1, trusting(ca)).startswith("the server does not speak TLS; an HTTP/1 server answers there")
    assert "TLS handshake failed" in refused(first.closes, trusting(ca))


@pytest.fixture(scope="module")
def pairs(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """Clients' certificates by who signed them."""
    found = {}
    for name, signer in (("trusted", authority), ("foreign", trustme.CA())):
        directory = tmp_path_factory.mktemp(name)
        certificate = signer.issue_cert("client.test")
        certificate.private_key_pem.write_to_path(directory / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(directory / "certificate.pem")
        found[name] = {"key": directory / "key.pem", "certificate": directory / "certificate.pem"}
    return found


def test_certificates_that_are_not_trusted(authority: trustme.CA, ca: Path) -> None:
    good = first.encrypted(server_context(authority.issue_cert("127.0.0.1")))
    elsewhere = first.encrypted(server_context(authority.issue_cert("elsewhere.test")))
    expired = first.encrypted(server_context(authority.issue_cert("127.0.0.1", not_after=PAST)))
    assert re.search(r"not trusted .*: its authority is unknown here; .*--tls-ca", refused(good, trusting(None)))
    assert re.search(r"not trusted .*: it is for another name than 127.0.0.1; .*--tls-server-name", refused(elsewhere, trusting(ca)))
    assert re.search(r"not trusted .*: it has expired", refused(expired, trusting(ca)))
    with first.answering(elsewhere) as url:
        check_address(url, GRPC, trusting(ca, server_name="elsewhere.test"))
        assert "cannot be a certificate's name" in explain(url, GRPC, trusting(ca, server_name="." + "x" * 300))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_clients_certificates(authority: trustme.CA, ca: Path, pairs: dict[str, dict[str, Path]], version: ssl.TLSVersion) -> None:
    context = server_context(authority.issue_cert("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    authority.configure_trust(context)
    answer = first.encrypted(context)
    assert re.search("the server requires a client certificate|it requires a client certificate", refused(answer, trusting(ca)))
    assert "does not accept the client certificate" in refused(answer, trusting(ca, **pairs["foreign"]))
    with first.answering(answer) as url:
        check_address(url, GRPC, trusting(ca, **pairs["trusted"]))


@pytest.fixture(scope="module")
def web(authority: trustme.CA) -> Iterator[str]:
    with first.answering(first.encrypted(server_context(authority.issue_cert("127.0.0.1"), ["http/1.1"]), first.http1)) as url:
        yield url


def test_a_web_server(web: str, ca: Path) -> None:
    assert "the server speaks TLS but" in explain(web, GRPC, trusting(ca))
    assert "the server speaks TLS and the connection is not encrypted" in explain(web, GRPC, PLAIN)
