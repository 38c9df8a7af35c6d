"""Whatever a peer sends: no exception but WireError, no hang, no unbounded memory, and the same events however reads cut it."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from trtbench.client.http2 import frames
from trtbench.client.http2.frames import ErrorCode, frame
from trtbench.client.http2.wire_connection import Event, StreamEnded, WireConnection, WireError

RECORDED = (Path(__file__).parents[2] / "fixtures" / "wire_triton_2.51.0.bin").read_bytes()
STREAMS = 7
MAX_MESSAGE_BYTES = 3000
REQUEST_BYTES = 10_000
MUTANTS = 4000

pytestmark = pytest.mark.timeout(60)


def new_client() -> WireConnection:
    client = WireConnection("host:8001", max_message_bytes=MAX_MESSAGE_BYTES)
    for number in range(STREAMS):
        client.send_message(client.open_stream("/inference.GRPCInferenceService/ModelStreamInfer"), bytes(200 * number))
    return client


def written_by_hand() -> bytes:
    """A legal exchange with the frames that a recording lacks."""
    encoder = Encoder()
    response = [(":status", "200"), ("content-type", "application/grpc"), ("x-long", "v" * 90)]
    out = frames.settings({frames.INITIAL_WINDOW_SIZE: 700, frames.MAX_CONCURRENT_STREAMS: 100, frames.MAX_FRAME_SIZE: 1 << 15})
    for stream_id in (1, 3, 5, 7, 9):
        block = encoder.encode(response)
        out += frame(frames.HEADERS, stream_id, b"\x04" + bytes(5) + block[:9] + bytes(4), frames.PADDED | frames.PRIORITIZED)
        out += frame(frames.CONTINUATION, stream_id, block[9:12]) + frame(frames.CONTINUATION, stream_id, block[12:], frames.END_HEADERS)
    message = struct.pack(">BI", 0, 300) + bytes(300)
    out += frame(frames.DATA, 1, message * 2 + message[:50]) + frame(frames.DATA, 3, b"\x09" + message + bytes(9), frames.PADDED)
    out += frame(frames.DATA, 1, message[50:] + message) + frames.window_update(0, 5000) + frames.window_update(5, 900)
    out += frame(frames.PING, 0, b"abcdefgh") + frame(0x33, 0, b"unknown") + frame(frames.PRIORITY, 1, bytes(5))
    out += frames.rst_stream(7, ErrorCode.REFUSED_STREAM) + frames.settings({frames.INITIAL_WINDOW_SIZE: 9000})
    out += frame(frames.DATA, 5, struct.pack(">BI", 0, MAX_MESSAGE_BYTES + 1)) + frame(frames.DATA, 9, struct.pack(">BI", 1, 2) + b"xx")
    trailers = encoder.encode([("grpc-status", "14"), ("grpc-message", "gone%20away")])
    out += frame(frames.HEADERS, 1, trailers, frames.END_HEADERS | frames.END_STREAM)
    return out + frame(frames.GOAWAY, 0, struct.pack(">II", 3, 0) + b"bye") + frame(frames.DATA, 3, message)


SEEDS = (RECORDED, written_by_hand())


def run(client: WireConnection, reads: Sequence[bytes]) -> tuple[list[Event], int | None]:
    """The events, and the code of the WireError that ended them; what the client holds is bounded after each read."""
    events: list[Event] = []
    for read in reads:
        try:
            events += client.receive(read)
        except WireError as error:
            assert not client.can_open
            return [*events, *error.events], error.code
        assert len(client.take_output()) <= REQUEST_BYTES + 10 * len(read)
        assert len(client._part) <= frames.MAX_HEADER_BLOCK_BYTES + 1000
        held = [call.held_bytes for call in client._calls.open.values()]
        assert all(size < MAX_MESSAGE_BYTES + 5 for size in held)
    return events, None


def assert_sound(data: bytes, cuts: Sequence[int]) -> None:
    edges = sorted(cut % (len(data) + 1) for cut in cuts)
    reads = [data[start:end] for start, end in zip([0, *edges], [*edges, len(data)], strict=True)]
    events, code = run(new_client(), reads)
    assert run(new_client(), [data]) == (events, code)
    ended = [event.stream_id for event in events if isinstance(event, StreamEnded)]
    assert len(ended) == len(set(ended))
    for place, event in enumerate(events):  # nothing of a stream follows its end
        if isinstance(event, tuple):
            assert event[0] not in {earlier.stream_id for earlier in events[:place] if isinstance(earlier, StreamEnded)}
            assert len(event[1]) <= MAX_MESSAGE_BYTES


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
            data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\0\0\x40\0", b"\0\0\x40\1"))
        if not data:
            return b""
    return bytes(data)


def test_the_seeds_are_legal() -> None:
    for data in SEEDS:
        assert run(new_client(), [data])[1] is None


def test_mutated_bytes() -> None:
    chance = random.Random(20240612)
    for number in range(MUTANTS):
        data = mutant(chance)
        cuts = [chance.randrange(1 << 16) for _ in range(chance.randrange(9))]
        try:
            assert_sound(data, cuts)
        except Exception as error:
            raise AssertionError(f"mutant {number}: {data.hex()} cut at {cuts}") from error


KINDS = st.one_of(st.sampled_from([frames.DATA, frames.HEADERS, frames.CONTINUATION, frames.SETTINGS]), st.integers(0, 12))
PAYLOADS = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda message: struct.pack(">BI", 0, len(message)) + message),
    st.integers(0, 0xFFFFFFFF).map(lambda number: struct.pack(">I", number)),
    st.tuples(st.integers(0, 7), st.integers(0, 0xFFFFFFFF)).map(lambda pair: struct.pack(">HI", *pair)),
    st.sampled_from([b"\x88\x5f\x10application/grpc", b"\x88\x5f\x10application/grpcx"[:-1], b"\x00\x0bgrpc-status\x010", bytes(8)]),
)
FRAMES = st.builds(
    frame, KINDS, st.integers(0, 2 * STREAMS + 2), PAYLOADS, st.one_of(st.sampled_from([0, 1, 4, 5, 8]), st.integers(0, 255))
)
ANSWERED = b"".join(frame(frames.HEADERS, stream_id, b"\x88\x5f\x10application/grpc", frames.END_HEADERS) for stream_id in (1, 3, 5))


@given(st.lists(FRAMES, max_size=30), st.lists(st.integers(0, 5000), max_size=8), st.booleans())
def test_random_frames(sent: list[bytes], cuts: list[int], answered: bool) -> None:
    assert_sound(frames.settings({}) + (ANSWERED if answered else b"") + b"".join(sent), cuts)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_random_bytes(data: bytes, cuts: list[int]) -> None:
    assert_sound(data, cuts)
    assert_sound(frames.settings({}) + data, cuts)


@given(st.binary(max_size=300))
def test_random_header_blocks(block: bytes) -> None:
    assert_sound(frames.settings({}) + frame(frames.HEADERS, 1, block, frames.END_HEADERS), [])


FLOODS = {
    "pings": frame(frames.PING, 0, bytes(8)),
    "settings": frames.settings({frames.INITIAL_WINDOW_SIZE: 5}),
    "resets": frames.rst_stream(1, 8),
    "empty DATA": frame(frames.DATA, 1),
    "one message without end": frame(frames.DATA, 1, struct.pack(">BI", 0, MAX_MESSAGE_BYTES) + bytes(10)),
    "header blocks": frame(frames.HEADERS, 3, b"\x40\x04name" + b"\x7f\x81\x01" + bytes(256), frames.END_HEADERS),
    "continuations": frame(frames.CONTINUATION, 3, bytes(100)),
    "unknown frames": frame(0x99, 0, bytes(16_000)),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_is_not_kept(flood: bytes) -> None:
    run(new_client(), [frames.settings({}), ANSWERED, *([flood] * 2000)])
    run(new_client(), [frames.settings({}) + ANSWERED + flood * 500])
