"""HTTP/1.1 over the connections, timestamps, TLS and pool of the transport."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.asking import EVERY_LOOP
from tests.support.fakes import first_answers as first
from tests.support.fakes.http_answers import LAST_CHUNK, UVICORN_HEAD, VLLM_DATA, chunk, event, plain, vllm_answer
from tests.support.fakes.http_asking import HttpClient, read_request
from trtbench.client.protocol import ConnectError, Limits
from trtbench.rundir.records import Outcome
from trtbench.scenario.load.client_settings import ClientSettings, Tls
from trtbench.system.clock import now_ns
from trtbench.system.event_loop import new_loop

pytestmark = [pytest.mark.process, pytest.mark.timeout(30), EVERY_LOOP]

Body = Callable[[HttpClient], Awaitable[None]]


class Counted:
    """An answer that counts its connections."""

    def __init__(self, answer: first.Answer) -> None:
        self.connections, self._answer = 0, answer

    def __call__(self, connected: socket.socket) -> None:
        self.connections += 1
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):
            self._answer(connected)


def run(answer: first.Answer, body: Body, fast_loop: bool, settings: ClientSettings | None = None) -> dict[str, Any]:
    """`body` with a client of a server that gives `answer` to each connection; the client's facts after it."""

    async def task(url: str) -> dict[str, Any]:
        client = HttpClient(url, settings)
        try:
            await body(client)
            return client.transport_facts()
        finally:
            await client.close()

    loop = new_loop() if fast_loop else asyncio.new_event_loop()
    with first.answering(answer) as url:
        try:
            return loop.run_until_complete(task(url))
        finally:
            loop.close()


def serve(*answers: bytes) -> first.Answer:
    """An answer to each request of a connection, the last one again and again."""

    def answer(connected: socket.socket) -> None:
        left = list(answers)
        while True:
            read_request(connected)
            connected.sendall(left.pop(0) if len(left) > 1 else left[0])

    return answer


def test_requests_follow_each_other_on_one_connection(fast_loop: bool) -> None:
    server = Counted(serve(vllm_answer(), plain(b"200 OK", b"{}")))

    async def body(client: HttpClient) -> None:
        for messages in (list(VLLM_DATA), [b"{}"], [b"{}"]):
            record, exchange = await client.ask()
            assert record.outcome is Outcome.COMPLETED, record.error
            assert [arrival.message for arrival in exchange.arrivals] == messages

    facts = run(server, body, fast_loop)
    assert server.connections == facts["connections"] == facts["connections_opened"] == 1
    assert facts["connections_lost"] == facts["requests_resent"] == 0


def test_each_request_in_flight_has_a_connection(fast_loop: bool) -> None:
    server = Counted(serve(vllm_answer()))

    async def body(client: HttpClient) -> None:
        await client.open_streams(4)
        asked = await asyncio.gather(*(client.ask() for _ in range(8)))
        assert {record.outcome for record, _ in asked} == {Outcome.COMPLETED}

    facts = run(server, body, fast_loop)
    assert 4 <= server.connections == facts["connections_opened"] <= 8 and facts["streams_per_connection"] == 1


def test_stamps_of_events_that_came_alone_and_together(fast_loop: bool) -> None:
    sent_ns: list[int] = []

    def answer(connected: socket.socket) -> None:
        read_request(connected)
        for part in (UVICORN_HEAD, chunk(event(b"a")), chunk(event(b"b")), chunk(event(b"c")) + chunk(event(b"d")), LAST_CHUNK):
            sent_ns.append(now_ns())
            connected.sendall(part)
            time.sleep(0.05)

    async def body(client: HttpClient) -> None:
        if client.transport_facts()["stamps"] != "kernel":
            pytest.skip(client.transport_facts()["stamps_why"])
        sending = asyncio.create_task(client.ask())
        await asyncio.sleep(0.08)
        time.sleep(0.05)  # the loop reads late; the kernel's timestamp does not depend on that
        _, exchange = await sending
        assert [arrival.message for arrival in exchange.arrivals] == [b"a", b"b", b"c", b"d"]
        assert [arrival.alone for arrival in exchange.arrivals][2:] == [False, False]
        for arrival, sent in zip(exchange.arrivals, [*sent_ns[1:4], sent_ns[3]], strict=True):
            if arrival.alone:
                assert 0 <= arrival.arrived_ns - sent < 20_000_000

    run(answer, body, fast_loop)


def test_a_request_that_is_given_up_closes_its_connection(fast_loop: bool) -> None:
    closed: list[bool] = []

    def answer(connected: socket.socket) -> None:
        read_request(connected)
        connected.sendall(UVICORN_HEAD + chunk(event(b"a")))
        closed.append(connected.recv(100) == b"")

    async def body(client: HttpClient) -> None:
        for _ in range(2):
            record, _ = await client.ask(limits=Limits(now_ns() + 10**10, cancel_after_ns=50_000_000))
            assert record.outcome is Outcome.CANCELLED and record.error.startswith("planned")
        while len(closed) < 2:
            await asyncio.sleep(0.01)

    facts = run(answer, body, fast_loop)
    assert closed == [True, True]
    assert facts["connections"] == 0 and facts["connections_opened"] == 2 and facts["connections_lost"] == 0


def test_a_server_that_closes_after_each_answer(fast_loop: bool) -> None:
    def answer(connected: socket.socket) -> None:
        read_request(connected)
        connected.sendall(plain(b"200 OK", b"{}", b"connection: close"))

    def without_a_length(connected: socket.socket) -> None:
        read_request(connected)
        connected.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + event(b"{}"))

    async def body(client: HttpClient) -> None:
        for _ in range(3):
            record, exchange = await client.ask()
            assert record.outcome is Outcome.COMPLETED and exchange.arrivals[0].message == b"{}", record.error

    for each in (answer, without_a_length):
        facts = run(server := Counted(each), body, fast_loop)
        assert server.connections == facts["connections_opened"] == 3 and facts["connections_lost"] == 0


def test_a_limit_of_requests_on_a_connection(fast_loop: bool) -> None:
    server = Counted(serve(plain(b"200 OK", b"{}")))

    async def body(client: HttpClient) -> None:
        for _ in range(4):
            await client.ask()

    run(server, body, fast_loop, ClientSettings(requests_per_stream=2))
    assert server.connections == 2


def test_an_idle_connection_that_the_server_closes(fast_loop: bool) -> None:
    """As uvicorn does after 5 s: the next request has a new one, and nobody counts a loss."""

    def answer(connected: socket.socket) -> None:
        read_request(connected)
        connected.sendall(plain(b"200 OK", b"{}"))

    async def body(client: HttpClient) -> None:
        for _ in range(2):
            record, _ = await client.ask()
            assert record.outcome is Outcome.COMPLETED and record.attempts <= 1
            await asyncio.sleep(0.1)

    facts = run(answer, body, fast_loop)
    assert facts["connections_opened"] == 2 and facts["requests_resent"] == 0 and facts["connections_lost"] == 0


def test_an_idle_connection_that_closes_as_a_request_is_sent(fast_loop: bool) -> None:
    """It is sent again on a new connection, and counted. On a new connection the end is a failure."""

    def answer(connected: socket.socket) -> None:
        read_request(connected)
        connected.sendall(plain(b"200 OK", b"{}"))
        connected.recv(1)  # the next request has come, and the server closes with the rest of it unread

    async def body(client: HttpClient) -> None:
        for _ in range(3):
            record, _ = await client.ask()
            assert record.outcome is Outcome.COMPLETED, record.error

    facts = run(answer, body, fast_loop)
    assert facts["requests_resent"] == 2 and facts["connections_opened"] == 3

    async def fails(client: HttpClient) -> None:
        record, _ = await client.ask()
        assert record.outcome is Outcome.CONNECTION and "connection" in record.error

    assert run(first.closes, fails, fast_loop)["requests_resent"] == 0


def test_a_server_that_thinks_and_closes_is_a_failure(fast_loop: bool) -> None:
    def answer(connected: socket.socket) -> None:
        read_request(connected)
        connected.sendall(plain(b"200 OK", b"{}"))
        read_request(connected)
        time.sleep(0.4)

    async def body(client: HttpClient) -> None:
        await client.ask()
        record, _ = await client.ask()
        assert record.outcome is Outcome.CONNECTION and record.error == "connection closed by the server"

    assert run(answer, body, fast_loop)["requests_resent"] == 0


@pytest.mark.parametrize(
    ("part", "error"),
    [
        (UVICORN_HEAD + chunk(event(b"a")), "connection closed by the server"),
        (UVICORN_HEAD + chunk(event(b"a")) + b"30\r\ndata: cut", "connection closed by the server"),
        (UVICORN_HEAD + b"nonsense\r\n", "HTTP/1.1 broken: "),
        (bytes(20), "HTTP/1.1 broken: "),
    ],
)
def test_an_answer_that_is_cut_or_no_answer(fast_loop: bool, part: bytes, error: str) -> None:
    def answer(connected: socket.socket) -> None:
        read_request(connected)
        connected.sendall(part)

    async def body(client: HttpClient) -> None:
        record, _ = await client.ask()
        assert record.outcome is Outcome.CONNECTION and record.error.startswith(error)

    assert run(answer, body, fast_loop)["connections_lost"] == 1


def test_a_body_larger_than_every_buffer(fast_loop: bool) -> None:
    received: list[int] = []

    def answer(connected: socket.socket) -> None:
        time.sleep(0.2)
        received.append(len(read_request(connected)))
        connected.sendall(plain(b"200 OK", b"x" * 5_000_000))

    async def body(client: HttpClient) -> None:
        record, exchange = await client.ask(b"y" * 20_000_000)
        assert record.outcome is Outcome.COMPLETED and len(exchange.arrivals[0].message) == 5_000_000

    run(answer, body, fast_loop)
    assert received == [20_000_000]


def test_the_kernel_probes_a_silent_connection(fast_loop: bool) -> None:
    """HTTP/1.1 has no PING, and an answer may begin late."""

    async def body(client: HttpClient) -> None:
        await client.open_streams(1)
        (connection,) = client._pool._connections
        assert connection._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 8
        connection.check(now_ns() + 10**15)
        assert connection.cause == ""

    run(first.waits, body, fast_loop, ClientSettings(keepalive_s=8))


def test_over_tls(fast_loop: bool, tmp_path: Path) -> None:
    """With a server that negotiates no protocol."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    async def body(client: HttpClient) -> None:
        for _ in range(2):
            record, exchange = await client.ask()
            assert record.outcome is Outcome.COMPLETED, record.error
            assert [arrival.message for arrival in exchange.arrivals] == list(VLLM_DATA)

    settings = ClientSettings(tls=Tls(ca=tmp_path / "ca.pem"))
    assert run(first.encrypted(context, serve(vllm_answer())), body, fast_loop, settings)["connections_opened"] == 1


def test_a_server_that_cannot_be_reached_is_explained(fast_loop: bool) -> None:
    async def body(client: HttpClient) -> None:
        await client.open_streams(1)

    with pytest.raises(ConnectError, match="the server speaks HTTP without TLS, and TLS was requested: write http://"):
        run(first.http1, body, fast_loop, ClientSettings(tls=Tls()))
