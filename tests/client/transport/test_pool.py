"""Which stream and which connection a request goes over."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import psutil
import pytest

from tests.support.asking import BARE, EVERY_LOOP, LATER_NS, ask_all, new_record, send, with_client
from tests.support.fakes.fake_http2 import FakeHttp2, Peer, serving
from trtbench.client.protocol import Limits
from trtbench.client.transport import pool
from trtbench.rundir.records import Outcome
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.system.clock import now_ns

pytestmark = [pytest.mark.process, pytest.mark.timeout(30), EVERY_LOOP]


class Seen:
    """A script that answers at once and keeps (connection, stream) of each request."""

    def __init__(self) -> None:
        self.streams: list[tuple[int, int]] = []

    def __call__(self, peer: Peer) -> None:
        peer.begin()
        while True:
            stream = peer.request()
            self.streams.append((peer.number, stream))
            tokens = 2 if len(peer.last_request.raw_input_contents[0]) else 0
            peer.answer(stream, tokens, final=True)


def run(server: FakeHttp2, fast_loop: bool, body: Any, settings: ClientSettings | None = None) -> dict[str, Any]:
    return with_client(replace(BARE, url=server.url), fast_loop, body, settings or ClientSettings())


def test_one_user_keeps_one_stream(fast_loop: bool) -> None:
    async def body(client: Any) -> None:
        await client.open_streams(3)
        for index in range(5):
            await send(client, new_record(index=index))

    seen = Seen()
    with serving(seen) as server:
        facts = run(server, fast_loop, body)
    assert len(set(seen.streams)) == 1 and len(seen.streams) == 5 and facts["connections_opened"] == 3


def test_a_stream_is_dropped_after_any_other_end(fast_loop: bool) -> None:
    async def body(client: Any) -> None:
        await send(client, new_record())
        record = new_record()
        await send(client, record, Limits(now_ns() + LATER_NS, cancel_after_tokens=1))
        assert record.outcome is Outcome.CANCELLED
        await send(client, new_record())

    seen = Seen()
    with serving(seen) as server:
        facts = run(server, fast_loop, body)
    assert seen.streams == [(0, 1), (0, 1), (0, 3)] and facts["connections_opened"] == 1


@pytest.mark.parametrize(("asked", "connections"), [(None, 10), (1, 10), (4, 3), (100, 1)])
def test_prepare_opens_what_will_be_needed_and_no_more(fast_loop: bool, asked: int | None, connections: int) -> None:
    async def body(client: Any) -> None:
        for _ in range(2):
            await client.open_streams(10)
        await asyncio.gather(*(send(client, new_record(index=index)) for index in range(10)))
        await client.open_streams(5)

    with serving(Seen()) as server:
        facts = run(server, fast_loop, body, ClientSettings(streams_per_connection=asked))
    assert facts["connections_opened"] == facts["connections"] == connections


def test_unprepared_requests_share_the_connections_that_are_being_made(fast_loop: bool) -> None:
    with serving(Seen()) as server:
        records, facts = ask_all(replace(BARE, url=server.url), 20, ClientSettings(streams_per_connection=10), fast_loop, prepare=False)
    assert {record.outcome for record in records} == {Outcome.COMPLETED} and facts["connections_opened"] == 2


def test_many_streams_share_connections(fast_loop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_MANY", 10)

    async def body(client: Any) -> None:
        await client.open_streams(10)
        assert client.transport_facts()["connections"] == 10
        await client.open_streams(100)

    with serving(Seen()) as server:
        facts = run(server, fast_loop, body)
    assert (facts["streams_per_connection"], facts["connections"]) == (8, 10 + 3)


def test_a_connection_that_was_lost_is_replaced(fast_loop: bool) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        peer.answer(peer.request(), 1, final=True)
        peer.wait_quiet()  # then it closes

    async def body(client: Any) -> None:
        for index in range(3):
            record = await send(client, new_record(index=index))
            assert record.outcome is Outcome.COMPLETED
            await asyncio.sleep(0.4)

    with serving(script) as server:
        facts = run(server, fast_loop, body)
    assert (facts["connections_opened"], facts["connections_lost"], facts["connections"]) == (3, 3, 0)
    assert facts["last_loss"] == "connection closed by the server"


def test_ids_that_are_used_up_mean_a_new_connection(fast_loop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trtbench.client.http2.wire_connection.LAST_STREAM_ID", 5)

    async def body(client: Any) -> None:
        for index in range(7):
            limits = Limits(now_ns() + LATER_NS, cancel_after_tokens=1)
            assert (await send(client, new_record(index=index), limits)).outcome is Outcome.CANCELLED

    seen = Seen()
    with serving(seen) as server:
        run(server, fast_loop, body)
    assert seen.streams == [(0, 1), (0, 3), (0, 5), (1, 1), (1, 3), (1, 5), (2, 1)]


def test_closing_leaves_no_file_open(fast_loop: bool) -> None:
    def connected() -> int:
        """Sockets of this process that go to the server."""
        return sum(connection.raddr == server_address for connection in psutil.Process().net_connections("tcp") if connection.raddr)

    async def body(client: Any) -> None:
        await client.open_streams(20)
        assert connected() == 20
        await asyncio.gather(*(send(client, new_record(index=index)) for index in range(20)))

    with serving(Seen()) as server:
        host, port = server.url.split(":")
        server_address = (host, int(port))
        run(server, fast_loop, body)
        assert connected() == 0
