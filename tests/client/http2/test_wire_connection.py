"""One connection as a whole, against h2 and against what real Triton once sent."""

from __future__ import annotations

import struct
from pathlib import Path

import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes.http2_servers import OK, PATH, H2Server, RawServer, prefixed
from trtbench.client.http2 import frames
from trtbench.client.http2.frames import ErrorCode, frame
from trtbench.client.http2.wire_connection import Event, GoAway, Pong, SettingsReceived, StreamEnded, WireConnection, WireError

RECORDED = Path(__file__).parents[2] / "fixtures" / "wire_triton_2.51.0.bin"


def test_what_is_not_for_us_is_ignored() -> None:
    server = RawServer()
    data = (
        frame(frames.PRIORITY, 9, bytes(5))
        + frame(0x77, 0, b"?")
        + frame(0x0A, 1, b"alt-svc")
        + frame(frames.SETTINGS, 0, flags=frames.ACK)
    )
    assert server.client.receive(data + frame(frames.DATA, 1, prefixed(b"x"))) == [(1, b"x")]
    assert server.sent() == []


def test_the_reserved_bit_of_a_stream_id_is_ignored() -> None:
    server = RawServer()
    assert server.client.receive(frame(frames.DATA, 1 | 1 << 31, prefixed(b"x"))) == [(1, b"x")]


def test_pings_both_ways() -> None:
    server = H2Server()
    server.pump()
    server.client.ping()
    assert server.pump() == [Pong(b"trtbench")]
    server.h2.ping(b"abcdefgh")
    server.pump()
    assert [event.ping_data for event in server.of(h2.events.PingAckReceived)] == [b"abcdefgh"]


def test_goaway_ends_what_was_not_accepted_and_lets_the_rest_go_on() -> None:
    server = RawServer(streams=3)
    events = server.client.receive(frame(frames.GOAWAY, 0, struct.pack(">II", 3, 0) + b"drain"))
    assert events == [
        GoAway(3, 0, "drain"),
        StreamEnded(5, "UNAVAILABLE", "GOAWAY with NO_ERROR: drain", retry_safe=True),
    ]
    assert not server.client.can_open
    with pytest.raises(WireError, match="no further stream"):
        server.client.open_stream(PATH)
    assert server.client.receive(frame(frames.DATA, 3, prefixed(b"x")) + server.trailers(3, OK)) == [(3, b"x"), StreamEnded(3, "OK", "")]
    server.client.send_message(1, b"still")
    again = server.client.receive(frame(frames.GOAWAY, 0, struct.pack(">II", 0, 11)))
    assert again == [GoAway(0, 11, ""), StreamEnded(1, "UNAVAILABLE", "GOAWAY with ENHANCE_YOUR_CALM", retry_safe=True)]


def test_max_concurrent_streams_is_kept() -> None:
    server = H2Server(MAX_CONCURRENT_STREAMS=2)
    assert server.pump() == [SettingsReceived(2)]
    first, _ = server.client.open_stream(PATH), server.client.open_stream(PATH)
    assert not server.client.can_open
    with pytest.raises(WireError):
        server.client.open_stream(PATH)
    server.client.reset(first)
    assert server.client.can_open
    server.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    assert server.pump() == [SettingsReceived(1)]
    assert not server.client.can_open


def test_stream_ids_are_used_up() -> None:
    client = WireConnection("host:8001")
    client._calls.next_id = 2**31 - 1
    assert client.can_open
    assert client.open_stream(PATH) == 2**31 - 1
    assert not client.can_open


BROKEN = {
    "an HTTP/1 server": (b"HTTP/1.1 400 Bad Request\r\n", ErrorCode.PROTOCOL_ERROR),
    "no SETTINGS first": (frame(frames.PING, 0, bytes(8)), ErrorCode.PROTOCOL_ERROR),
}
BROKEN_LATER = {
    "a push": (frame(frames.PUSH_PROMISE, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "a lone CONTINUATION": (frame(frames.CONTINUATION, 1, b"", frames.END_HEADERS), ErrorCode.PROTOCOL_ERROR),
    "a frame too large": (frame(frames.DATA, 1, bytes(16_385))[:9], ErrorCode.FRAME_SIZE_ERROR),
    "a stream never opened": (frame(frames.DATA, 3, b"x"), ErrorCode.PROTOCOL_ERROR),
    "a stream of the server": (frame(frames.DATA, 2, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA on the connection": (frame(frames.DATA, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM on the connection": (frames.rst_stream(0, 1), ErrorCode.PROTOCOL_ERROR),
    "SETTINGS on a stream": (frame(frames.SETTINGS, 1), ErrorCode.PROTOCOL_ERROR),
    "SETTINGS that acknowledge and set": (frame(frames.SETTINGS, 0, bytes(6), frames.ACK), ErrorCode.FRAME_SIZE_ERROR),
    "PING of 7 bytes": (frame(frames.PING, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "a garbled header block": (frame(frames.HEADERS, 1, b"\xff\xff\xff\xff\xff", frames.END_HEADERS), ErrorCode.COMPRESSION_ERROR),
    "a header list too long": (frame(frames.HEADERS, 1, b"\x40\x01a\x3f" + b"v" * 63 + b"\xbe" * 11_000, 4), ErrorCode.COMPRESSION_ERROR),
    "a window of 0": (frames.window_update(0, 0), ErrorCode.PROTOCOL_ERROR),
    "a window too wide": (frames.window_update(0, frames.MAX_WINDOW_BYTES), ErrorCode.FLOW_CONTROL_ERROR),
    "windows too wide": (
        frames.window_update(1, frames.MAX_WINDOW_BYTES - 65535) + frames.settings({frames.INITIAL_WINDOW_SIZE: 65536}),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
}


def assert_ended(client: WireConnection, code: ErrorCode) -> None:
    """Its last frame is a GOAWAY with `code`, and it takes no further call."""
    output = client.take_output()
    pos, kind = output.startswith(frames.MAGIC) and len(frames.MAGIC), None
    while pos < len(output):
        word, _, _ = frames.HEADER.unpack_from(output, pos)
        kind, payload = word & 0xFF, output[pos + 9 : pos + 9 + (word >> 8)]
        pos += 9 + (word >> 8)
    assert (kind, struct.unpack_from(">II", payload)) == (frames.GOAWAY, (0, code))
    assert not client.can_open
    for call in (
        lambda: client.receive(b""),
        lambda: client.open_stream(PATH),
        lambda: client.send_message(1, b""),
        lambda: client.ping(),
    ):
        with pytest.raises(WireError) as again:
            call()
        assert (again.value.code, again.value.events) == (code, ())
    client.reset(1)
    assert client.take_output() == b""


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN)
def test_a_peer_that_is_none(data: bytes, code: ErrorCode) -> None:
    client = WireConnection("host:8001")
    with pytest.raises(WireError, match="does not speak HTTP/2") as caught:
        client.receive(data)
    assert caught.value.code == code
    assert_ended(client, code)


@pytest.mark.parametrize(("data", "code"), BROKEN_LATER.values(), ids=BROKEN_LATER)
def test_a_broken_connection_keeps_what_came_before(data: bytes, code: ErrorCode) -> None:
    server = RawServer()
    with pytest.raises(WireError) as caught:
        server.client.receive(frame(frames.DATA, 1, prefixed(b"before")) + data)
    assert (caught.value.code, caught.value.events) == (code, [(1, b"before")])
    assert_ended(server.client, code)


def recorded_client() -> WireConnection:
    """The calls whose answers tests/fixtures/wire_triton_2.51.0.bin holds, from Triton 2.51.0 and its Python backend.

    1 ServerReady, 3 and 5 ModelStreamInfer (3: two requests and one for a model that is absent; 5: one), 7 no method,
    9 ModelReady and 11 ModelConfig of an absent model, 13 ModelConfig.
    """
    client = WireConnection("127.0.0.1:8001")
    for _ in range(7):
        client.open_stream(PATH)
    return client


def test_what_triton_sent() -> None:
    client = recorded_client()
    settled, pong, *events = client.receive(RECORDED.read_bytes())
    assert (settled, pong) == (SettingsReceived(None), Pong(b"trtbench"))
    ended = {event.stream_id: (event.status, event.message) for event in events if isinstance(event, StreamEnded)}
    absent = "Request for unknown model: 'absent' is not found"
    assert ended == {
        **dict.fromkeys((1, 3, 5, 9, 13), ("OK", "")),
        7: ("UNIMPLEMENTED", ""),
        11: ("NOT_FOUND", absent),
    }
    messages = [event for event in events if isinstance(event, tuple)]
    assert [stream_id for stream_id, _ in messages].count(3) == 6 + 3 + 1
    assert [stream_id for stream_id, _ in messages].count(5) == 4
    assert absent.encode() in messages[-1][1]
    assert client.open_streams == 0


@given(st.lists(st.integers(0, len(RECORDED.read_bytes())), max_size=60), st.booleans())
def test_events_do_not_depend_on_where_reads_cut(cuts: list[int], views: bool) -> None:
    data, client = RECORDED.read_bytes(), recorded_client()
    events: list[Event] = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        buffer = bytearray(data[start:end])
        events += client.receive(memoryview(buffer) if views else bytes(buffer))
        buffer[:] = bytes(len(buffer))  # the next read overwrites it
    assert events == recorded_client().receive(data)


def test_events_do_not_depend_on_cuts_byte_by_byte() -> None:
    data, client = RECORDED.read_bytes(), recorded_client()
    events = [event for byte in data for event in client.receive(bytes([byte]))]
    assert events == recorded_client().receive(data)
