"""The replay server's HTTP/2, against the library `h2` as its client."""

from __future__ import annotations

import struct

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, PingAckReceived, ResponseReceived, StreamEnded, TrailersReceived
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from trtbench.client.http2.frames import MAGIC
from trtbench.self_test.http2 import (
    HalfClosed,
    ProtocolError,
    Request,
    ServerConnection,
    WindowsGrew,
    message_frame,
    response_headers,
    trailers,
)

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "here"),
    (":path", "/inference.GRPCInferenceService/ModelStreamInfer"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
    ("x-long", "value " * 20),
]


def grpc(message: bytes) -> bytes:
    return struct.pack(">?I", False, len(message)) + message


class Exchange:
    """A client and a server that pass each other bytes."""

    def __init__(self) -> None:
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.client.initiate_connection()
        self.server = ServerConnection()
        self.events: list[object] = []
        self.client_events: list[Event] = []

    def to_server(self) -> list[object]:
        new = list(self.server.receive(self.client.data_to_send()))
        self.events += new
        return new

    def to_client(self, data: bytes = b"") -> None:
        self.client_events += self.client.receive_data(bytes(self.server.control) + data)
        self.server.control.clear()

    def settle(self) -> None:
        for _ in range(3):
            self.to_server()
            self.to_client()

    def open(self) -> int:
        stream_id = self.client.get_next_available_stream_id()
        self.client.send_headers(stream_id, HEADERS)
        return stream_id


@pytest.fixture
def exchange() -> Exchange:
    exchange = Exchange()
    exchange.settle()
    return exchange


def requests(events: list[object]) -> list[object]:
    return [event for event in events if not isinstance(event, WindowsGrew)]


def test_a_request_comes_out_whole(exchange: Exchange) -> None:
    stream = exchange.open()
    exchange.client.send_data(stream, grpc(b"hello"), end_stream=True)
    assert requests(exchange.to_server()) == [Request(stream, b"hello"), HalfClosed(stream)]
    assert exchange.server.streams[stream].path == dict(HEADERS)[":path"]


def test_a_message_over_many_frames_and_several_in_one(exchange: Exchange) -> None:
    stream = exchange.open()
    long = bytes(50_000)
    data = grpc(b"one") + grpc(b"") + grpc(long)
    for start in range(0, len(data), 7000):
        exchange.client.send_data(stream, data[start : start + 7000], pad_length=11)
    assert requests(exchange.to_server()) == [Request(stream, b"one"), Request(stream, b""), Request(stream, long)]


def test_headers_of_many_streams_share_one_table(exchange: Exchange) -> None:
    streams = [exchange.open() for _ in range(5)]
    exchange.to_server()
    assert {exchange.server.streams[stream].path for stream in streams} == {dict(HEADERS)[":path"]}


def test_a_header_block_over_several_frames(exchange: Exchange) -> None:
    stream = exchange.client.get_next_available_stream_id()
    exchange.client.send_headers(stream, [*HEADERS, *((f"x-{number}", "é" * 500) for number in range(10))])
    exchange.client.send_data(stream, grpc(b"x"))
    assert requests(exchange.to_server()) == [Request(stream, b"x")]


def test_an_endless_client_is_never_held_up(exchange: Exchange) -> None:
    """Windows are given back: 64 MiB go through a connection whose client heeds them."""
    exchange.client.max_outbound_frame_size = 1 << 16
    stream = exchange.open()
    chunk = grpc(bytes((1 << 16) - 5))
    for _ in range(1024):
        for start in range(0, len(chunk), 16_384):
            exchange.client.send_data(stream, chunk[start : start + 16_384])
        exchange.to_server()
        exchange.to_client()
    assert len(requests(exchange.events)) == 1024


def test_what_it_sends_is_http2_and_grpc(exchange: Exchange) -> None:
    stream = exchange.open()
    exchange.client.send_data(stream, grpc(b"?"), end_stream=True)
    exchange.to_server()
    exchange.to_client(response_headers(stream) + message_frame(stream, b"answer") + trailers(stream, 12))
    response, data, end = (
        [event for event in exchange.client_events if isinstance(event, kind)]
        for kind in (ResponseReceived, DataReceived, TrailersReceived)
    )
    assert dict(response[0].headers) == {":status": "200", "content-type": "application/grpc"}
    assert data[0].data == grpc(b"answer")
    assert dict(end[0].headers) == {"grpc-status": "12"}
    assert any(isinstance(event, StreamEnded) for event in exchange.client_events)


def test_pings_are_answered(exchange: Exchange) -> None:
    exchange.client.ping(b"12345678")
    exchange.to_server()
    exchange.to_client()
    assert [event.ping_data for event in exchange.client_events if isinstance(event, PingAckReceived)] == [b"12345678"]


def test_flow_control_of_a_stream_and_of_the_connection() -> None:
    exchange = Exchange()
    exchange.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})
    exchange.settle()
    stream = exchange.open()
    exchange.to_server()
    assert exchange.server.take_window(stream, 60)
    assert not exchange.server.take_window(stream, 60)
    exchange.client.increment_flow_control_window(20, stream)
    exchange.to_server()
    assert exchange.server.take_window(stream, 60)
    exchange.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})  # applies to open streams too
    exchange.settle()
    assert exchange.server.take_window(stream, 65_000)
    assert not exchange.server.take_window(stream, 1000)  # the connection's own window of 65,535 is used up
    exchange.client.increment_flow_control_window(1000)
    assert WindowsGrew() in exchange.to_server()
    assert exchange.server.take_window(stream, 1000)


def test_a_reset_stream_is_gone_and_its_data_dropped(exchange: Exchange) -> None:
    stream = exchange.open()
    exchange.client.send_data(stream, grpc(b"half")[:6])
    exchange.client.reset_stream(stream)
    exchange.to_server()
    assert stream not in exchange.server.streams
    other = exchange.open()
    exchange.client.send_data(other, grpc(b"whole"))
    assert requests(exchange.to_server()) == [Request(other, b"whole")]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.lists(st.integers(1, 90), min_size=1))
def test_how_reads_cut_the_bytes_makes_no_difference(messages: list[bytes], cuts: list[int]) -> None:
    exchange = Exchange()
    stream = exchange.open()
    for message in messages:
        exchange.client.send_data(stream, grpc(message))
    data = exchange.client.data_to_send()
    pieces, place, turn = [], 0, 0
    while place < len(data):
        size = cuts[turn % len(cuts)]
        pieces.append(data[place : place + size])
        place, turn = place + size, turn + 1
    events = [event for piece in pieces for event in exchange.server.receive(piece)]
    assert requests(events) == [Request(stream, message) for message in messages]


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"])
def test_what_is_no_http2_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="preface"):
        list(ServerConnection().receive(data))


def test_compressed_messages_are_refused(exchange: Exchange) -> None:
    stream = exchange.open()
    exchange.client.send_data(stream, b"\x01" + grpc(b"x")[1:])
    with pytest.raises(ProtocolError, match="compressed"):
        exchange.to_server()


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x00\x01\x08\x00\x00\x00\x00\x00\x00",
        b"\x00\x00\x02\x01\x04\x00\x00\x00\x01\xff\xff",
        b"\x00\x00\x00\x00\x08\x00\x00\x00\x01",
        b"\x00\x00\x01\x01\x04\x00\x00\x00\x03\x88",
    ],
    ids=["short window update", "no HPACK", "padding missing", "no path"],
)
def test_frames_that_make_no_sense_end_the_connection(exchange: Exchange, frame: bytes) -> None:
    exchange.open()
    exchange.to_server()
    with pytest.raises(ProtocolError, match="kind"):
        list(exchange.server.receive(frame))


def test_nothing_happens_before_the_preface_is_whole() -> None:
    assert list(ServerConnection().receive(MAGIC[:10])) == []
