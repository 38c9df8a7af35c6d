"""Whatever a server sends: no exception but HttpFault, no unbounded memory, and the same events however reads cut it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.http1.test_http_wire import ask
from tests.support.fakes.http_answers import LAST_CHUNK, TRITON_HEAD, UVICORN_HEAD, chunk, event, plain, triton_answer, vllm_answer
from trtbench.client.http1.http_answer import HttpFault
from trtbench.client.http1.http_wire import HttpWire
from trtbench.client.wire import StreamEnded

MAX_MESSAGE_BYTES = 3000
MUTANTS = 1000
SEEDS = (
    vllm_answer(),
    triton_answer(),
    vllm_answer() + plain(b"200 OK", b'{"choices": []}') + triton_answer(),
    plain(b"429 Too Many Requests", b"{}", b"retry-after: 3") + vllm_answer(),
    b"HTTP/1.1 100 Continue\r\n\r\n" + TRITON_HEAD + b"9;a=b\r\ndata: x\r\n\r\n1\r\n\n\r\n0\r\nx-trailer: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + event(b"a") + event(b"b")[:-1],
)

pytestmark = pytest.mark.timeout(60)


def run(reads: Sequence[bytes]) -> tuple[list[Any], str]:
    """All events, and the fault that ended them. Each answer is followed by another request, whose answer may be in the same read.

    A server that sends an answer before its request is a fault, so the reads are cut where answers end."""
    wire = HttpWire("host:8000", most_bytes=MAX_MESSAGE_BYTES)
    ask(wire)
    events: list[Any] = []
    for read in reads:
        try:
            events += wire.receive(read)
        except HttpFault as fault:
            assert wire.is_over and fault.cause
            return [*events, *fault.events], str(fault)
        if wire.is_over:
            return events, ""
        assert held_bytes(wire) <= MAX_MESSAGE_BYTES + 1
        if wire.can_open:
            ask(wire)
    return events + wire.receive_end(in_order=True, crossed=False), ""


def held_bytes(wire: HttpWire) -> int:
    answer = wire._answer
    if answer is None:
        return 0
    return max(len(answer._body), len(answer._splitter._part) if answer._splitter else 0, *map(len, answer._head.values()), 0)


def assert_sound(data: bytes, cuts: Sequence[int]) -> None:
    """As one read, in bytes, and cut: the same events up to the first end, after which a read may hold more than its answer."""
    edges = sorted(cut % (len(data) + 1) for cut in cuts)
    reads = [data[start:end] for start, end in zip([0, *edges], [*edges, len(data)], strict=True)]
    found = [first_answer(*run(each)) for each in ([data], reads, [data[at : at + 1] for at in range(len(data))])]
    assert found[0] == found[1] == found[2]
    for event_ in found[0][0]:
        assert isinstance(event_, StreamEnded) or len(event_[1]) <= MAX_MESSAGE_BYTES


def first_answer(events: list[Any], fault: str) -> tuple[list[Any], bool]:
    """The events of the first answer, and whether a fault came before its end."""
    for at, found in enumerate(events):
        if isinstance(found, StreamEnded):
            return events[: at + 1], False
    return events, bool(fault)


def mutant(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at, size = chance.randrange(len(data)), chance.randrange(1, 40)
        kind = chance.randrange(6)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del data[at : at + size]
        elif kind == 3:
            data[at:at] = chance.randbytes(size)
        elif kind == 4:
            data[at:at] = data[at : at + 10 * size]
        else:
            data[at : at + 2] = chance.choice((b"\r\n", b"\n\n", b"\r\r", b"0\r\n\r\n", b"ffffffffffffffffff\r\n", b": ", b"data: "))
        if not data:
            return b""
    return bytes(data)


def test_the_seeds_are_legal() -> None:
    for data in SEEDS:
        events, fault = first_answer(*run([data]))
        assert isinstance(events[-1], StreamEnded) and not fault


def test_mutated_bytes() -> None:
    chance = random.Random(20261201)
    for number in range(MUTANTS):
        data = mutant(chance)
        cuts = [chance.randrange(1 << 16) for _ in range(chance.randrange(9))]
        try:
            assert_sound(data, cuts)
        except Exception as error:
            raise AssertionError(f"mutant {number}: {data!r} cut at {cuts}") from error


PIECES = st.one_of(
    st.sampled_from([UVICORN_HEAD, LAST_CHUNK, plain(b"200 OK", b"{}"), b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n", b"0\r\n", b"9\r\n"]),
    st.binary(max_size=20).map(event).map(chunk),
    st.binary(max_size=20).map(chunk),
    st.sampled_from([b"data: a\n\n", b"data: ", b"a\r\n\r\n", b"\n\n", b": ping\n\n"]).map(chunk),
    st.binary(max_size=10),
)


@given(st.lists(PIECES, max_size=12), st.lists(st.integers(0, 2000), max_size=8), st.booleans())
def test_random_pieces(pieces: list[bytes], cuts: list[int], begun: bool) -> None:
    assert_sound((UVICORN_HEAD if begun else b"") + b"".join(pieces), cuts)


@given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=5))
def test_random_bytes(data: bytes, cuts: list[int]) -> None:
    assert_sound(data, cuts)
    assert_sound(UVICORN_HEAD + data, cuts)


FLOODS = {
    "a header without end": (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1000),
    "a name of a header without end": (b"HTTP/1.1 200 OK\r\n", b"y" * 1000),
    "headers without end": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 100),
    "a status text without end": (b"HTTP/1.1 200 ", b"y" * 1000),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "an event without end": (UVICORN_HEAD, chunk(b"data: " + b"x" * 1000)),
    "a chunk's extension without end": (UVICORN_HEAD + b"5;", b"y" * 1000),
    "trailers without end": (UVICORN_HEAD + b"0\r\n", b"x: y\r\n" * 100),
    "a body without end": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000),
    "a refusal without end": (b"HTTP/1.1 500 Oops\r\n\r\n", b"x" * 1000),
    "zeros of a chunk's size": (UVICORN_HEAD, b"0" * 1000),
}


@pytest.mark.parametrize(("start", "flood"), FLOODS.values(), ids=FLOODS)
def test_a_flood_ends_the_answer(start: bytes, flood: bytes) -> None:
    wire = HttpWire("host:8000", most_bytes=MAX_MESSAGE_BYTES)
    ask(wire)
    wire.receive(start)
    for _ in range(200):
        try:
            wire.receive(flood)
        except HttpFault:
            break
        if wire.is_over:
            break
    assert wire.is_over


@pytest.mark.parametrize("flood", [chunk(b": ping\n\n"), chunk(b"\n"), chunk(b"event: ping\n\n")])
def test_what_brings_nothing_is_not_kept(flood: bytes) -> None:
    wire = HttpWire("host:8000", most_bytes=MAX_MESSAGE_BYTES)
    ask(wire)
    wire.receive(UVICORN_HEAD)
    for _ in range(2000):
        assert wire.receive(flood) == []
        assert held_bytes(wire) < 200
