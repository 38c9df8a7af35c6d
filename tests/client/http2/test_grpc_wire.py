from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes.http2_servers import RawServer, prefixed
from trtbench.client.http2 import frames
from trtbench.client.http2.frames import frame

MESSAGES = [b"", b"a", b"b" * 300, b"c" * 3000, b"d", b""]


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=30), st.booleans())
def test_messages_need_not_fit_frames(sizes: list[int], padded: bool) -> None:
    server = RawServer()
    stream, pos, data = b"".join(map(prefixed, MESSAGES)), 0, b""
    while pos < len(stream):
        size = sizes[len(data) % len(sizes)]
        piece = stream[pos : pos + size]
        data += frame(frames.DATA, 1, b"\x03" + piece + bytes(3), frames.PADDED) if padded else frame(frames.DATA, 1, piece)
        data += frame(frames.DATA, 1)
        pos += size
    assert server.client.receive(data) == [(1, message) for message in MESSAGES]


@pytest.mark.parametrize("size", [0, 1, 16_378, 16_379, 16_380, 32_763, 1_000_000])
def test_messages_of_all_sizes(size: int) -> None:
    server = RawServer()
    whole = prefixed(random.Random(size).randbytes(size))
    pieces = [whole[start : start + frames.MAX_FRAME_BYTES] for start in range(0, len(whole), frames.MAX_FRAME_BYTES)]
    assert server.client.receive(b"".join(frame(frames.DATA, 1, piece) for piece in pieces)) == [(1, whole[5:])]


def test_interleaved_streams_keep_their_messages_apart() -> None:
    server = RawServer(streams=3)
    whole = [prefixed(bytes([stream_id]) * 100) for stream_id in server.ids]
    first = b"".join(frame(frames.DATA, stream_id, data[:7]) for stream_id, data in zip(server.ids, whole, strict=True))
    rest = b"".join(frame(frames.DATA, stream_id, data[7:]) for stream_id, data in zip(server.ids, whole, strict=True))
    assert server.client.receive(first) == []
    assert server.client.receive(rest) == [(stream_id, bytes([stream_id]) * 100) for stream_id in server.ids]
