"""Reads of whole chunks with one event each, and what only looks like them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes.http_answers import LAST_CHUNK, VLLM_DATA, chunk, event
from trtbench.client.http1.event_chunks import take_event_chunks
from trtbench.client.http1.event_stream import EventSplitter

EVENTS = [chunk(event(data)) for data in VLLM_DATA]


@pytest.mark.parametrize("number", range(1, len(EVENTS) + 1))
@pytest.mark.parametrize("rest", [b"", LAST_CHUNK, EVENTS[0][:30], b"1"])
def test_chunks_and_the_rest(number: int, rest: bytes) -> None:
    assert take_event_chunks(3, b"".join(EVENTS[:number]) + rest) == ([(3, data) for data in VLLM_DATA[:number]], rest)


@pytest.mark.parametrize("size", [1, 9, 10, 11, 300, 5000, 70_000])
def test_sizes_of_any_length_in_either_case(size: int) -> None:
    data = chunk(event(b"x" * size))
    digits, _, body = data.partition(b"\r\n")
    for same in (data, digits.upper() + b"\r\n" + body):
        assert take_event_chunks(1, same) == ([(1, b"x" * size)], b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        LAST_CHUNK,
        EVENTS[0][:40],
        chunk(b": ping\n\n"),
        chunk(b"event: x\ndata: y\n\n"),
        chunk(b"data: x\ndata: y\n\n"),
        chunk(b"data: x\ry\n\n"),
        chunk(b"data:x\n\n"),
        chunk(b"data: x\n\ndata: y\n\n"),
        chunk(b"data: x\r\n\r\n"),
        chunk(b"data: x") + chunk(b"\n\n"),
        b"0" + chunk(b"data: x\n\n"),
        b"9;a=b\r\ndata: x\n\n\r\n",
        b"8\r\ndata: x\n\n\r\n",
        b"a\r\ndata: x\n\n\r\n",
        EVENTS[0] + chunk(b": ping\n\n") + EVENTS[1],
    ],
)
def test_what_is_left_to_the_parser(data: bytes) -> None:
    assert take_event_chunks(1, data) == ([], data)


BODIES = st.one_of(st.sampled_from([b"data: ", b"data", b"\n\n", b"\n", b"\r", b"x", b": p\n\n"]), st.binary(max_size=20).map(event))


@given(st.lists(st.lists(BODIES, max_size=3).map(b"".join).filter(bool), max_size=5))
def test_the_same_as_the_splitter_finds(bodies: list[bytes]) -> None:
    events, rest = take_event_chunks(1, b"".join(map(chunk, bodies)))
    splitter = EventSplitter(1000)
    splitter.take(b"\n\n")  # no byte order mark can come any more
    if not rest:
        assert [data for _, data in events] == [data for body in bodies for data in splitter.take(body)]
    else:
        assert events == [] or rest == b"".join(map(chunk, bodies))[-len(rest) :]
