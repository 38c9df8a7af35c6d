"""Faults of a server on our own transport: each classified, every request accounted for, the others go on where the protocol allows."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.asking import BARE, EVERY_LOOP, ask_all, new_record, send, target_of, with_client
from tests.support.fakes.fake_http2 import Peer, framed, serving, token_message
from trtbench.client.protocol import ConnectError, Limits
from trtbench.errors import UserError
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings, Tls
from trtbench.system.clock import now_ns, seconds_ns

pytestmark = [pytest.mark.process, pytest.mark.timeout(30), EVERY_LOOP]

SHARED = ClientSettings(streams_per_connection=8)
ALONE = ClientSettings()
MAX_CONCURRENT_STREAMS = 3  # of HTTP/2's SETTINGS
REFUSED_STREAM, INTERNAL_ERROR, ENHANCE_YOUR_CALM = 7, 2, 11


def outcomes(records: list[RequestRecord]) -> list[str]:
    return [record.outcome.value for record in records]


def check_accounted(records: list[RequestRecord]) -> None:
    for record in records:
        assert record.outcome is not Outcome.NEVER_SENT and record.done_ns
        assert len(record.token_ns) == len(record.token_counts) == len(record.token_lag_ns)
        assert (record.error == "") == (record.outcome is Outcome.COMPLETED)


def serve_all(peer: Peer) -> None:
    peer.begin()
    while True:
        peer.answer(peer.request(), 2, final=True)


def test_the_script_itself_serves(fast_loop: bool) -> None:
    with serving(serve_all) as server:
        records, facts = ask_all(replace(BARE, url=server.url), 20, SHARED, fast_loop)
    assert outcomes(records) == ["completed"] * 20 and all(record.output_ids == [100, 101] for record in records)
    assert (facts["connections_opened"], facts["connections_lost"], server.connections) == (3, 0, 3)


def test_a_connection_reset_in_mid_message(fast_loop: bool) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        stream = peer.request()
        peer.answer(stream, 1)
        whole = framed(token_message(101))
        peer.raw(struct.pack(">I", len(whole))[1:] + b"\0\0" + struct.pack(">I", stream) + whole[:20])
        peer.wait_quiet()
        peer.reset_connection()

    with serving(script) as server:
        [record], facts = ask_all(replace(BARE, url=server.url), 1, ALONE, fast_loop)
    check_accounted([record])
    assert record.outcome is Outcome.CONNECTION and "reset" in record.error and record.output_ids == [100]
    assert facts["connections_lost"] == 1


def test_a_stream_reset_leaves_the_others(fast_loop: bool) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        streams = [peer.request() for _ in range(3)]
        peer.answer(streams[0], 1)
        peer.reset(streams[0], INTERNAL_ERROR)
        for stream in streams[1:]:
            peer.answer(stream, 3, final=True)
        peer.wait_gone()

    with serving(script) as server:
        records, facts = ask_all(replace(BARE, url=server.url), 3, SHARED, fast_loop)
    check_accounted(records)
    assert outcomes(records) == ["connection", "completed", "completed"]
    assert "RST_STREAM with INTERNAL_ERROR" in records[0].error and records[0].output_ids == [100]
    assert facts["connections_lost"] == 0


def test_goaway_with_streams_open(fast_loop: bool) -> None:
    """Those the server took go on, those it did not are sent again on a new connection, and nobody is the wiser."""

    def script(peer: Peer) -> None:
        if peer.number:
            serve_all(peer)
        peer.begin()
        streams = sorted(peer.request() for _ in range(4))
        peer.goaway(streams[1], ENHANCE_YOUR_CALM, b"too_many_pings")
        for stream in streams[:2]:
            peer.answer(stream, 3, final=True)
        peer.wait_gone()

    with serving(script) as server:
        records, facts = ask_all(replace(BARE, url=server.url), 4, SHARED, fast_loop)
    check_accounted(records)
    assert outcomes(records) == ["completed"] * 4
    assert sorted(record.output_tokens for record in records) == [2, 2, 3, 3]
    assert facts["requests_resent"] == 2 and server.connections == 2
    assert "GOAWAY ENHANCE_YOUR_CALM too_many_pings" in facts["last_loss"]


def test_a_server_that_refuses_on_is_given_up(fast_loop: bool) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        while True:
            peer.reset(peer.request(), REFUSED_STREAM)

    with serving(script) as server:
        [record], facts = ask_all(replace(BARE, url=server.url), 1, ALONE, fast_loop)
    assert record.outcome is Outcome.CONNECTION and "REFUSED_STREAM" in record.error
    assert 1 < facts["requests_resent"] < 10


def test_a_stalled_stream_ends_at_its_limit_alone(fast_loop: bool) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        stalled, other = peer.request(), peer.request()
        peer.answer(stalled, 1)
        peer.answer(other, 3, final=True)
        peer.wait_reset(stalled)
        peer.answer(peer.request(), 1, final=True)
        peer.wait_gone()

    with serving(script) as server:
        records = [new_record(index=index) for index in range(3)]

        async def body(client: Any) -> None:
            await asyncio.gather(*(send(client, record, Limits(now_ns() + seconds_ns(0.4))) for record in records[:2]))
            await send(client, records[2])

        with_client(replace(BARE, url=server.url), fast_loop, body, SHARED)
    check_accounted(records)
    assert outcomes(records) == ["timeout", "completed", "completed"] and server.connections == 1


@pytest.mark.parametrize("only", [True, False], ids=["trailers-only", "after-headers"])
def test_a_status_with_a_percent_encoded_message(fast_loop: bool, only: bool) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        stream = peer.request()
        if not only:
            peer.answer(stream, 1)
        peer.trailers(stream, 8, "Exceeds%20maximum queue size%3A %E2%82%AC", only)
        peer.wait_gone()

    with serving(script) as server:
        [record], _ = ask_all(replace(BARE, url=server.url), 1, ALONE, fast_loop)
    check_accounted([record])
    assert (record.outcome, record.error) == (Outcome.REJECTED, "Exceeds maximum queue size: \u20ac")
    assert record.output_tokens == (0 if only else 1)


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (b"\x00\x00\x08\x06\x00\x00\x00\x00\x01" + bytes(8), "PROTOCOL_ERROR"),  # PING on a stream
        (b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", "FRAME_SIZE_ERROR"),
        (b"\x00\x00\x04\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff", "COMPRESSION_ERROR"),
    ],
    ids=["garbage", "oversized", "garbled-headers"],
)
def test_a_broken_frame_ends_the_connection_and_the_next_request_has_another(fast_loop: bool, frame: bytes, error: str) -> None:
    def script(peer: Peer) -> None:
        if peer.number:
            serve_all(peer)
        peer.begin()
        streams = [peer.request(), peer.request()]
        peer.answer(streams[0], 1)
        peer.raw(frame)
        peer.wait_gone()

    with serving(script) as server:
        records = [new_record(index=index) for index in range(3)]

        async def body(client: Any) -> None:
            await asyncio.gather(*(send(client, record) for record in records[:2]))
            await send(client, records[2])

        with_client(replace(BARE, url=server.url), fast_loop, body, SHARED)
    check_accounted(records)
    assert outcomes(records) == ["connection", "connection", "completed"]
    assert {record.error for record in records[:2]} == {records[0].error} and error in records[0].error
    assert records[0].output_ids == [100]


def test_an_answer_nobody_asked_for_is_no_ones(fast_loop: bool) -> None:
    """The stream on which it came is dropped: the next request must not take it for its own."""

    def script(peer: Peer) -> None:
        peer.begin()
        first = peer.request()
        peer.answer(first, 1, final=True)
        peer.message(first, token_message(999))
        peer.wait_reset(first)
        peer.answer(peer.request(), 1, final=True)
        peer.wait_gone()

    with serving(script) as server:
        records = [new_record(index=index) for index in range(2)]

        async def body(client: Any) -> None:
            await send(client, records[0])
            await asyncio.sleep(0.2)
            await send(client, records[1])

        with_client(replace(BARE, url=server.url), fast_loop, body)
    assert [record.output_ids for record in records] == [[100], [100]] and outcomes(records) == ["completed"] * 2


def test_fewer_streams_a_connection_than_asked(fast_loop: bool) -> None:
    def script(peer: Peer) -> None:
        peer.begin({MAX_CONCURRENT_STREAMS: 2})
        while True:
            peer.answer(peer.request(), 2, final=True)

    with serving(script) as server:
        for prepare in (True, False):
            records, facts = ask_all(replace(BARE, url=server.url), 10, SHARED, fast_loop, prepare)
            check_accounted(records)
            assert outcomes(records) == ["completed"] * 10
            assert facts["connections_opened"] == 5 if prepare else 2 <= facts["connections_opened"] <= 5


def test_a_server_that_allows_no_stream(fast_loop: bool) -> None:
    def script(peer: Peer) -> None:
        peer.begin({MAX_CONCURRENT_STREAMS: 0})
        peer.wait_gone()

    with serving(script) as server:
        [record], _ = ask_all(replace(BARE, url=server.url), 1, ALONE, fast_loop, prepare=False)
    assert record.outcome is Outcome.CONNECTION and "allows no stream" in record.error


def test_a_server_that_drops_every_connection(fast_loop: bool) -> None:
    with serving(Peer.begin) as server, pytest.raises(ConnectError, match=r"closed by the server|as fast as they are made|reset"):
        ask_all(replace(BARE, url=server.url), 3, ALONE, fast_loop)


def test_a_listening_socket_that_closed_keeps_what_is_connected(fast_loop: bool) -> None:
    with serving(serve_all) as server:
        records = [new_record(index=index) for index in range(3)]

        async def body(client: Any) -> None:
            await client.open_streams(1)
            server.stop_listening()
            await send(client, records[0])
            await asyncio.gather(*(send(client, record) for record in records[1:]))

        with_client(replace(BARE, url=server.url), fast_loop, body)
    check_accounted(records)
    assert outcomes(records) == ["completed", "completed", "connection"]
    assert "refused" in records[2].error and records[2].sent_ns is None


def test_a_half_open_connection_is_found_by_keepalive(fast_loop: bool, start_fake_server: Any) -> None:
    server = start_fake_server(1, 1)
    target = target_of(server.url, "stuck")
    records = [new_record(index=index) for index in range(2)]

    async def body(client: Any) -> None:
        sending = [asyncio.create_task(send(client, record)) for record in records]
        await asyncio.sleep(0.3)
        os.kill(server.process.pid, signal.SIGSTOP)
        await asyncio.gather(*sending)

    with_client(target, fast_loop, body, ClientSettings(keepalive_s=0.3))
    check_accounted(records)
    assert outcomes(records) == ["connection"] * 2 and all("half-open" in record.error for record in records)
    assert all(record.output_ids == [100] for record in records)


def test_a_silent_server_that_lives_is_pinged_once(fast_loop: bool) -> None:
    pings: list[int] = []

    def script(peer: Peer) -> None:
        peer.begin()
        stream = peer.request()
        peer.socket.settimeout(1.2)
        peer.wait_gone()
        pings.append(sum("Ping" in type(event).__name__ for event in peer.events))
        peer.answer(stream, 1, final=True)

    with serving(script) as server:
        [record], _ = ask_all(replace(BARE, url=server.url), 1, ClientSettings(keepalive_s=0.2), fast_loop)
    assert record.outcome is Outcome.COMPLETED and pings == [1]


def test_a_name_that_has_no_address(fast_loop: bool) -> None:
    [record], _ = ask_all(replace(BARE, url="nowhere.invalid:8001"), 1, ALONE, fast_loop, prepare=False)
    assert record.outcome is Outcome.CONNECTION and "DNS" in record.error and "nowhere.invalid" in record.error


_PREPARE_MANY = """
import resource, sys
from tests.support.asking import BARE, on_loop
from trtbench.client.protocol import ConnectError
from trtbench.client.kserve.wire_client import WireClient
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload

async def main():
    client = WireClient(BARE, Workload(), ClientSettings())
    try:
        await client.open_streams(3_900)
    except ConnectError as error:
        print(error)
    finally:
        await client.close()

resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
on_loop(main(), sys.argv[1] == "True")
"""


def test_more_connections_than_files(fast_loop: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PREPARE_MANY, str(fast_loop)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=25,
    )
    assert re.search(r"limit is \d+ .RLIMIT_NOFILE.: raise it .`ulimit -n \d+`", done.stdout), done.stderr


def _tls_server(authority: trustme.CA, alpn: tuple[str, ...] = ("h2",)) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


@pytest.mark.parametrize(
    ("case", "error"),
    [
        ("good", ""),
        ("wrong CA", "TLS: the server's certificate is not trusted"),
        ("no HTTP/2", "TLS: the server does not offer HTTP/2 .ALPN chose nothing"),
        ("wrong name", "TLS: the server's certificate is not trusted .*elsewhere"),
        ("plain server", "TLS"),
        ("plain client", "no HTTP/2 with .* does it want TLS .client.tls., or is this its gRPC port"),
    ],
)
def test_tls(fast_loop: bool, tmp_path: Any, case: str, error: str) -> None:
    authority = trustme.CA()
    (trustme.CA() if case == "wrong CA" else authority).cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = Tls(ca=tmp_path / "ca.pem", server_name="elsewhere" if case == "wrong name" else None)
    context = None if case == "plain server" else _tls_server(authority, () if case == "no HTTP/2" else ("h2",))
    with serving(serve_all, context) as server:
        settings = ClientSettings(tls=None if case == "plain client" else tls)
        [record], facts = ask_all(replace(BARE, url=server.url), 1, settings, fast_loop, prepare=False)
    if case == "good":
        assert record.outcome is Outcome.COMPLETED and facts["stamp_fallbacks"] == 0 and len(record.token_lag_ns) == 2
    else:
        assert record.outcome is Outcome.CONNECTION and re.search(error, record.error), record.error
    check_accounted([record])


@pytest.mark.parametrize("key", ["ca", "certificate"])
def test_a_missing_file_is_a_user_error(fast_loop: bool, tmp_path: Any, key: str) -> None:
    absent = tmp_path / "absent.pem"
    tls = Tls(ca=absent) if key == "ca" else Tls(certificate=absent, key=absent)
    with pytest.raises(UserError, match=r"client.tls.*absent.pem cannot be read .*PEM"):
        ask_all(BARE, 1, ClientSettings(tls=tls), fast_loop)
