"""A server that means harm, over real sockets: the request ends in a class, nothing grows without bound, and the next request is served."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hpack import Encoder

from tests.support.asking import BARE, LATER_NS, new_record, send, with_client
from tests.support.fakes.fake_http2 import Peer, final_message, framed, serving, token_message
from trtbench.client import answer_bounds
from trtbench.client.http2 import frames, wire_connection
from trtbench.client.http2.frames import frame
from trtbench.client.protocol import Limits
from trtbench.client.transport.connection import Connection
from trtbench.rundir.records import RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.system.clock import now_ns, seconds_ns

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]
GRPC = [(":status", "200"), ("content-type", "application/grpc")]
SHORT_S, MOST_BYTES = 0.4, 100 << 20


def headers(stream_id: int, fields: list[tuple[str, str]], end: bool = False) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    flags = frames.END_HEADERS | (frames.END_STREAM if end else 0)
    return frame(frames.HEADERS, stream_id, encoder.encode(fields), flags)


def data(stream_id: int, payload: bytes, end: bool = False) -> bytes:
    return frame(frames.DATA, stream_id, payload, frames.END_STREAM if end else 0)


def header_bomb(stream_id: int) -> bytes:
    """A block of 12 KB that is 50 MB of headers once it is decoded."""
    block = b"\x88\x40\x01x\x7f\x81\x1e" + bytes(4000) + b"\xbe" * 8000
    return frame(frames.HEADERS, stream_id, block, frames.END_HEADERS)


def long_status(stream_id: int, characters: int) -> bytes:
    """A failure whose text takes many CONTINUATIONs. hpack takes minutes to compress it."""
    encoder = Encoder()
    encoder.header_table_size = 0
    block = encoder.encode([*GRPC, ("grpc-status", "8"), ("grpc-message", "m" * characters)], huffman=False)
    parts = [block[at : at + frames.MAX_FRAME_BYTES] for at in range(0, len(block), frames.MAX_FRAME_BYTES)]
    first = frame(frames.HEADERS, stream_id, parts[0], frames.END_STREAM)
    rest = [frame(frames.CONTINUATION, stream_id, part) for part in parts[1:-1]]
    return first + b"".join(rest) + frame(frames.CONTINUATION, stream_id, parts[-1], frames.END_HEADERS)


Attack = Callable[[int], bytes]
ATTACKS: dict[str, tuple[Attack, str, str]] = {
    "a header bomb": (header_bomb, "connection", "HPACK"),
    "a status that is no number": (lambda s: headers(s, [*GRPC, ("grpc-status", "abc")], True), "other", "UNKNOWN"),
    "a status out of range": (lambda s: headers(s, [*GRPC, ("grpc-status", "99")], True), "other", "UNKNOWN"),
    "a negative status": (lambda s: headers(s, [*GRPC, ("grpc-status", "-1")], True), "other", "UNKNOWN"),
    "no status": (lambda s: headers(s, GRPC) + data(s, b"", True), "other", "ended with DATA"),
    "a status text of 60 KB": (lambda s: headers(s, [*GRPC, ("grpc-status", "2"), ("grpc-message", "m" * 15_000)], True), "other", "mmm"),
    "a status text of 200 KB": (lambda s: long_status(s, 200_000), "rejected", "mmm"),
    "a status text of 2 MB": (lambda s: long_status(s, 2_000_000), "connection", "header block without end"),
    "OK without an answer": (lambda s: headers(s, [*GRPC, ("grpc-status", "0")], True), "other", "without a final response"),
    "a message of 4 GB": (lambda s: headers(s, GRPC) + data(s, b"\0\xff\xff\xff\xff"), "other", "4294967295 bytes, over the limit"),
    "a compressed message": (lambda s: headers(s, GRPC) + data(s, b"\1\0\0\0\1x"), "other", "compressed flag 1"),
    "a message that is none": (lambda s: headers(s, GRPC) + data(s, framed(b"\xff" * 9)), "other", "malformed response"),
    "DATA before HEADERS": (lambda s: data(s, framed(token_message(1))), "other", "DATA before HEADERS"),
    "an HTML page": (lambda s: headers(s, [(":status", "200"), ("content-type", "text/html")], True), "other", "text/html"),
    "HTTP 413": (lambda s: headers(s, [(":status", "413"), ("content-type", "text/html")], True), "other", "HTTP status 413"),
    "a frame of 5 bytes for 4": (lambda s: frame(frames.RST_STREAM, s, bytes(5)), "connection", "FRAME_SIZE_ERROR"),
    "a PING of 7 bytes": (lambda s: frame(frames.PING, 0, bytes(7)), "connection", "FRAME_SIZE_ERROR"),
    "a frame that is too long": (
        lambda s: struct.pack(">I", 1 << 20)[1:] + b"\0\0" + struct.pack(">I", s),
        "connection",
        "FRAME_SIZE_ERROR",
    ),
    "a push": (lambda s: frame(frames.PUSH_PROMISE, s, bytes(8)), "connection", "PUSH_PROMISE"),
    "a stream never opened": (lambda s: headers(s + 100, GRPC), "connection", "never opened"),
    "a window too wide": (lambda s: frames.window_update(0, 2**31 - 1) * 2, "connection", "FLOW_CONTROL_ERROR"),
    "an id that no token has": (lambda s: headers(s, GRPC) + data(s, framed(token_message(-7)) + framed(final_message())), "other", "-7"),
}


def most_memory() -> int:
    """Bytes of this process at its peak."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def ask(server: Any, requests: int = 2, limit_s: float = 10) -> tuple[list[RequestRecord], int]:
    """So many in turn, and by how much they raised the peak of memory."""
    records = [new_record(index=index) for index in range(requests)]

    async def body(client: Any) -> None:
        for record in records:
            await send(client, record, Limits(now_ns() + seconds_ns(limit_s)))

    before = most_memory()
    with_client(replace(BARE, url=server.url), False, body)
    return records, most_memory() - before


def once(attack: Callable[[Peer, int], None]) -> Callable[[Peer], None]:
    """Attacks the first request of the first connection, and serves what follows as a server should."""
    struck: list[bool] = []

    def script(peer: Peer) -> None:
        peer.begin()
        while True:
            stream = peer.request()
            if struck:
                peer.answer(stream, 2, final=True)
                continue
            struck.append(True)
            attack(peer, stream)

    return script


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_ends_in_its_class_and_the_next_request_is_served(name: str) -> None:
    attack, outcome, error = ATTACKS[name]

    def strike(peer: Peer, stream: int) -> None:
        peer.raw(attack(stream))
        peer.wait_gone() if outcome == "connection" else peer.forget(stream)

    with serving(once(strike)) as server:
        (first, second), most_bytes = ask(server)
    assert (first.outcome.value, second.outcome.value) == (outcome, "completed"), first.error
    assert error in first.error and len(first.error) <= 500 and most_bytes < MOST_BYTES


def test_a_long_status_text_ends_its_own_request_alone() -> None:
    """Another stream of the connection, which is under way, goes on."""

    def script(peer: Peer) -> None:
        peer.begin()
        first, second = peer.request(), peer.request()
        peer.raw(long_status(first, 200_000))
        peer.answer(second, 8, final=True)
        peer.wait_gone()

    records = [new_record(index=index) for index in range(2)]

    async def body(client: Any) -> None:
        limits = Limits(now_ns() + seconds_ns(20))
        await asyncio.gather(*(send(client, record, limits) for record in records))

    with serving(script) as server:
        with_client(replace(BARE, url=server.url), False, body, ClientSettings(streams_per_connection=2))
    assert sorted(record.outcome.value for record in records) == ["completed", "rejected"]
    (failed,) = [record for record in records if record.outcome.value == "rejected"]
    assert failed.error.startswith("mmm") and len(failed.error) <= 500


def flood(piece: bytes, opening: bytes) -> Callable[[Peer, int], None]:
    """Sends without end, and reads nothing."""

    def strike(peer: Peer, stream: int) -> None:
        peer.socket.settimeout(20)
        with suppress(OSError):
            peer.raw(opening)
            while True:
                peer.raw(piece)

    return strike


@pytest.mark.parametrize(
    ("piece", "outcome", "error"),
    [
        (data(1, b"") * 4000, "timeout", "time limit"),
        (data(1, bytes(5) * 3000), "timeout", "time limit"),
        (headers(1, [(":status", "100")]) * 1000, "timeout", "time limit"),
        (frames.window_update(1, 1) * 1000, "timeout", "time limit"),
        (frame(0x77, 0, bytes(16_000)), "timeout", "time limit"),
        (data(1, framed(token_message(5))) * 500, "other", "responses with output, where 8 tokens were requested"),
    ],
    ids=["empty DATA", "empty messages", "HTTP 100", "WINDOW_UPDATE", "unknown frames", "tokens"],
)
def test_a_flood_ends_in_a_class_and_in_bounded_memory(piece: bytes, outcome: str, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_bounds, "_SPARE", 4000)
    opening = b"" if piece.startswith(headers(1, [(":status", "100")])) else headers(1, GRPC)
    with serving(once(flood(piece, opening))) as server:
        (record,), most_bytes = ask(server, 1, SHORT_S if outcome == "timeout" else 40)
    assert record.outcome.value == outcome and error in record.error
    assert most_bytes < MOST_BYTES


@pytest.mark.parametrize("piece", [frame(frames.PING, 0, bytes(8)), frames.settings({})], ids=["PING", "SETTINGS"])
def test_questions_without_end_whose_answers_are_not_read_end_the_connection(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_connection, "_MOST_UNREAD_BYTES", 100_000)
    ours, theirs = socket.socketpair()
    causes: list[str] = []
    unread: list[int] = []

    async def main() -> None:
        for end in (ours, theirs):
            end.setblocking(False)
        client_end = Connection(ours, wire_connection.WireConnection("fake"), None, None, LATER_NS, lambda client_end: None)
        theirs.send(frames.settings({}))
        while not client_end.cause:
            with suppress(BlockingIOError):
                theirs.send(piece * 1000)
            await asyncio.sleep(0)
        causes.append(client_end.cause)
        unread.append(len(client_end._write_buffer._unsent))

    asyncio.run(main())
    theirs.close()
    assert "asks for replies without end and reads none" in causes[0] and unread[0] < 1 << 20


@pytest.mark.parametrize("late", [final_message(), token_message(9), framed(token_message(9))], ids=["final", "token", "garbage"])
def test_what_follows_the_final_response_is_no_one_elses(late: bytes) -> None:
    def strike(peer: Peer, stream: int) -> None:
        peer.headers(stream)
        peer.raw(b"".join(data(stream, framed(message)) for message in (token_message(5), final_message(), late)))
        peer.wait_reset(stream)

    with serving(once(strike)) as server:
        (first, second), _ = ask(server)
    assert [(record.outcome.value, record.output_ids) for record in (first, second)] == [("completed", [5]), ("completed", [100, 101])]


def test_an_answer_before_its_request_is_no_answer() -> None:
    """The server answers a stream as soon as it is opened, ahead of its request."""

    def script(peer: Peer) -> None:
        peer.begin()
        while not peer.opened():
            peer.read()
        (stream,) = peer.opened()
        peer.headers(stream)
        peer.message(stream, token_message(99))
        peer.message(stream, final_message())
        peer.wait_reset(stream)
        peer.answer(peer.request(), 2, final=True)

    record = new_record()

    async def body(client: Any) -> None:
        await client.open_streams(1)
        await asyncio.sleep(0.2)
        await send(client, record)

    with serving(script) as server:
        with_client(replace(BARE, url=server.url), False, body)
    assert (record.outcome.value, record.output_ids) == ("completed", [100, 101])
