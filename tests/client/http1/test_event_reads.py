"""Reads of exactly one event that are kept to be decoded later."""

from __future__ import annotations

import pytest

from tests.support.fakes.http_answers import LAST_CHUNK, VLLM_DATA, chunk, event
from trtbench.client.http1.event_chunks import EventReads

TOKEN, LAST, USAGE, DONE = (chunk(event(data)) for data in VLLM_DATA)


def taken(reads: EventReads, data: bytes) -> bool:
    """As a connection reads it: into a buffer that holds what was read before."""
    buffer = bytearray(b"\n\r" * 1000)
    buffer[: len(data)] = data
    return reads.take_read(buffer, len(data), 100, 7)


def test_events_are_kept_with_their_timestamps() -> None:
    reads = EventReads(3, VLLM_DATA[0], 8)
    assert taken(reads, TOKEN) and taken(reads, LAST) and taken(reads, USAGE)
    assert reads.kept == [(data, 100, 7) for data in VLLM_DATA[:3]]
    assert reads.stream_id == 3 and reads.flow_bytes == 0


@pytest.mark.parametrize(
    "data",
    [
        TOKEN + TOKEN,
        TOKEN[:-1],
        TOKEN + b"1",
        TOKEN[:50],
        b"",
        LAST_CHUNK,
        DONE,
        chunk(event(b'{"error":{"message":"out of memory"}}')),
        chunk(event(VLLM_DATA[0]) + event(VLLM_DATA[1])),
        chunk(b"data: " + VLLM_DATA[0] + b"\ndata: x\n\n"),
        chunk(b"data: " + VLLM_DATA[0] + b"\r\r\n\n"),
        b"0" + TOKEN,
    ],
)
def test_what_is_decoded_at_once(data: bytes) -> None:
    reads = EventReads(3, VLLM_DATA[0], 8)
    assert not taken(reads, data) and reads.kept == []


def test_no_more_than_asked() -> None:
    reads = EventReads(3, VLLM_DATA[0], 2)
    assert [taken(reads, TOKEN) for _ in range(3)] == [True, True, False]
