from __future__ import annotations

import struct

import h2.events
import h2.settings
import pytest
from hpack import Encoder

from tests.support.fakes.http2_servers import OK, PATH, RESPONSE, H2Server, RawServer, prefixed
from trtbench.client.http2 import frames, wire_connection
from trtbench.client.http2.frames import ErrorCode, frame
from trtbench.client.http2.grpc_wire import STATUS_NAMES
from trtbench.client.http2.wire_connection import SettingsReceived, StreamEnded, WireConnection, WireError


def test_a_unary_call() -> None:
    server = H2Server()
    stream_id = server.client.open_stream("/inference.GRPCInferenceService/ServerReady")
    server.client.send_message(stream_id, b"ask", end_stream=True)
    assert server.pump() == [SettingsReceived(None)]
    (request,) = server.of(h2.events.RequestReceived)
    assert dict(request.headers) == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/inference.GRPCInferenceService/ServerReady",
        ":authority": "host:8001",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": request.headers[6][1],
        "grpc-accept-encoding": "identity",
    }
    assert request.headers[6][1].startswith("trtbench/")
    assert server.bodies == {stream_id: prefixed(b"ask")}
    assert len(server.of(h2.events.StreamEnded)) == 1
    server.respond(stream_id, b"answer")
    server.h2.send_headers(stream_id, OK, end_stream=True)
    assert server.pump() == [(stream_id, b"answer"), StreamEnded(stream_id, "OK", "")]
    assert server.client.open_streams == 0
    assert server.of(h2.events.StreamReset) == []


def test_the_opening_forbids_pushes_and_opens_the_windows_wide() -> None:
    server = H2Server()
    server.pump()
    assert server.h2.remote_settings.enable_push == 0
    assert server.h2.remote_settings.initial_window_size == server.h2.outbound_flow_control_window == frames.MAX_WINDOW_BYTES
    assert len(server.of(h2.events.SettingsAcknowledged)) == 1


def test_a_stream_carries_requests_and_responses_both_ways_and_is_freed_when_the_server_ends_it_first() -> None:
    server = H2Server()
    stream_id = server.client.open_stream(PATH)
    for number in range(3):
        server.client.send_message(stream_id, b"request %d" % number)
    server.pump()
    assert server.bodies[stream_id] == b"".join(prefixed(b"request %d" % number) for number in range(3))
    server.respond(stream_id, b"", b"a", b"b" * 1000)
    assert server.pump() == [(stream_id, b""), (stream_id, b"a"), (stream_id, b"b" * 1000)]
    server.h2.send_headers(stream_id, OK, end_stream=True)
    assert server.pump() == [StreamEnded(stream_id, "OK", "")]
    (reset,) = server.of(h2.events.StreamReset)
    assert reset.error_code == ErrorCode.NO_ERROR
    with pytest.raises(WireError, match="no further message"):
        server.client.send_message(stream_id, b"late")
    server.client.reset(stream_id)
    assert server.client.take_output() == b""


def test_a_second_end_of_a_request_is_refused() -> None:
    server = H2Server(INITIAL_WINDOW_SIZE=3)
    stream_id = server.client.open_stream(PATH)
    server.pump()
    server.acknowledges = False
    server.client.send_message(stream_id, b"held back", end_stream=True)
    with pytest.raises(WireError, match="no further message"):
        server.client.send_message(stream_id, b"more")


def test_header_blocks_need_no_table_of_the_server() -> None:
    server = H2Server()
    server.h2.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0})
    server.pump()
    for path in ("/a/b", "/c/d", "/a/b"):
        server.client.open_stream(path)
    server.pump()
    assert [dict(event.headers)[":path"] for event in server.of(h2.events.RequestReceived)] == ["/a/b", "/c/d", "/a/b"]


def test_headers_with_padding_priority_and_continuations() -> None:
    server = RawServer()
    block = server.encoder.encode([("grpc-status", "5"), ("grpc-message", "no such model " * 5)])
    data = frame(frames.HEADERS, 1, b"\x02" + bytes(5) + block[:3] + bytes(2), frames.PADDED | frames.PRIORITIZED | frames.END_STREAM)
    data += frame(frames.CONTINUATION, 1, block[3:9]) + frame(frames.CONTINUATION, 1, block[9:], frames.END_HEADERS)
    assert server.client.receive(data) == [StreamEnded(1, "NOT_FOUND", "no such model " * 5)]


def test_an_informational_response_comes_before_the_real_one() -> None:
    client = WireConnection("host:8001")
    client.open_stream(PATH)
    encoder = Encoder()
    data = frames.settings({}) + frame(frames.HEADERS, 1, encoder.encode([(":status", "103")]), frames.END_HEADERS)
    data += frame(frames.HEADERS, 1, encoder.encode(RESPONSE), frames.END_HEADERS) + frame(frames.DATA, 1, prefixed(b"x"))
    assert client.receive(data)[1:] == [(1, b"x")]


@pytest.mark.parametrize(
    ("trailers", "status", "message"),
    [
        *(([("grpc-status", str(number))], name, "") for number, name in enumerate(STATUS_NAMES)),
        ([("grpc-status", "14"), ("grpc-message", "caf%C3%A9 100%25 %zz %")], "UNAVAILABLE", "café 100% %zz %"),
        ([("grpc-status", "2"), ("grpc-message", "%FF")], "UNKNOWN", "\N{REPLACEMENT CHARACTER}"),
        ([("grpc-status", "17")], "UNKNOWN", ""),
        ([("grpc-status", "-1")], "UNKNOWN", ""),
        ([("grpc-status", "00009999")], "UNKNOWN", ""),
        ([("grpc-status", "9" * 5000)], "UNKNOWN", ""),
        ([("grpc-status", "")], "UNKNOWN", ""),
        ([("other", "x")], "UNKNOWN", "no grpc-status"),
    ],
)
def test_trailers(trailers: list[tuple[str, str]], status: str, message: str) -> None:
    server = RawServer()
    assert server.client.receive(server.trailers(1, trailers)) == [StreamEnded(1, status, message)]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([*RESPONSE, ("grpc-status", "3")], "INVALID_ARGUMENT"),
        ([(":status", "502"), ("grpc-status", "3")], "INVALID_ARGUMENT"),  # what gRPC says comes first
        (RESPONSE, "UNKNOWN"),
        *(
            ([(":status", str(http))], status)
            for http, status in {
                400: "INTERNAL",
                401: "UNAUTHENTICATED",
                403: "PERMISSION_DENIED",
                404: "UNIMPLEMENTED",
                429: "UNAVAILABLE",
                431: "INTERNAL",
                500: "UNKNOWN",
                502: "UNAVAILABLE",
                503: "UNAVAILABLE",
                504: "UNAVAILABLE",
            }.items()
        ),
    ],
)
def test_trailers_only(headers: list[tuple[str, str]], status: str) -> None:
    server = H2Server()
    stream_id = server.client.open_stream(PATH)
    server.pump()
    server.h2.send_headers(stream_id, headers, end_stream=True)
    (event,) = server.pump()
    assert isinstance(event, StreamEnded)
    assert (event.status, event.retry_safe) == (status, False)


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ([(":status", "503"), ("content-type", "text/html")], "UNAVAILABLE", "HTTP status 503 without a grpc-status"),
        ([(":status", "200"), ("content-type", "text/html")], "UNKNOWN", "no grpc-status (content-type 'text/html')"),
    ],
)
def test_an_answer_that_is_none_of_grpc_ends_the_call_without_its_body(headers: list[tuple[str, str]], status: str, message: str) -> None:
    server = H2Server()
    stream_id = server.client.open_stream(PATH)
    server.pump()
    server.h2.send_headers(stream_id, headers)
    server.h2.send_data(stream_id, b"<html>")
    assert server.pump() == [StreamEnded(stream_id, status, message)]
    (reset,) = server.of(h2.events.StreamReset)
    assert reset.error_code == ErrorCode.CANCEL


def test_ends_without_trailers_and_amid_a_message() -> None:
    server = RawServer(streams=2)
    events = server.client.receive(frame(frames.DATA, 1, prefixed(b"x"), frames.END_STREAM))
    assert events == [(1, b"x"), StreamEnded(1, "UNKNOWN", "no grpc-status: the stream ended with DATA")]
    events = server.client.receive(frame(frames.DATA, 3, prefixed(b"cut")[:6]) + server.trailers(3, OK))
    assert events == [StreamEnded(3, "INTERNAL", "the stream ended 6 bytes into a message")]


@pytest.mark.parametrize("code", [*ErrorCode, 0x55])
def test_reset_by_the_server(code: int) -> None:
    server = RawServer(streams=2)
    special = {7: "UNAVAILABLE", 8: "CANCELLED", 11: "RESOURCE_EXHAUSTED", 12: "PERMISSION_DENIED"}
    (event,) = server.client.receive(frames.rst_stream(1, code))
    name = ErrorCode(code).name if code < 14 else "code 0x55"
    assert event == StreamEnded(1, special.get(code, "INTERNAL"), f"RST_STREAM with {name}", retry_safe=code == 7)
    assert server.sent() == []
    assert server.client.receive(frames.rst_stream(1, code)) == []
    assert server.client.receive(frame(frames.DATA, 3, prefixed(b"goes on"))) == [(3, b"goes on")]


FAULTS = {
    "compressed": (prefixed(b"abc", compressed=1), "INTERNAL"),
    "compressed, its flag not 1": (prefixed(b"abc", compressed=9), "INTERNAL"),
    "too long, in one frame": (prefixed(bytes(1001)), "RESOURCE_EXHAUSTED"),
    "too long, by its prefix alone": (prefixed(bytes(1 << 20))[:5], "RESOURCE_EXHAUSTED"),
}


@pytest.mark.parametrize(("data", "status"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("good", [[], [b"good"]], ids=["alone", "after another"])
def test_a_message_that_cannot_be_taken_ends_its_stream_alone(good: list[bytes], data: bytes, status: str) -> None:
    server = RawServer(streams=2, max_message_bytes=1000)
    sent = frame(frames.DATA, 1, b"".join(map(prefixed, good)) + data) + frame(frames.DATA, 1, prefixed(b"late"))
    *before, ended = server.client.receive(sent)
    assert before == [(1, message) for message in good]
    assert isinstance(ended, StreamEnded)
    assert (ended.stream_id, ended.status) == (1, status)
    assert server.sent() == [(frames.RST_STREAM, 1, struct.pack(">I", ErrorCode.CANCEL))]
    longest = prefixed(bytes(1000))
    assert server.client.receive(frame(frames.DATA, 3, longest)) == [(3, bytes(1000))]
    assert server.client.receive(frame(frames.DATA, 3, longest[:7]) + frame(frames.DATA, 3, longest[7:])) == [(3, bytes(1000))]


def test_other_faults_of_one_stream() -> None:
    server = RawServer(streams=3)
    bad = [
        server.headers(1, RESPONSE),
        frames.window_update(3, 0),
        frames.window_update(5, frames.MAX_WINDOW_BYTES),
    ]
    ended = server.client.receive(b"".join(bad))
    assert [(event.stream_id, event.status) for event in ended if isinstance(event, StreamEnded)] == [(n, "INTERNAL") for n in (1, 3, 5)]
    codes = [ErrorCode.PROTOCOL_ERROR, ErrorCode.PROTOCOL_ERROR, ErrorCode.FLOW_CONTROL_ERROR]
    assert [int.from_bytes(payload, "big") for _, _, payload in server.sent()] == codes


def test_data_before_headers() -> None:
    client = WireConnection("host:8001")
    client.open_stream(PATH)
    events = client.receive(frames.settings({}) + frame(frames.DATA, 1, prefixed(b"x")))
    assert events[1:] == [StreamEnded(1, "INTERNAL", "DATA before HEADERS")]


def test_a_reset_of_ours_drops_what_comes_late_but_keeps_the_header_table_in_step() -> None:
    server = H2Server()
    first, second = (server.client.open_stream(PATH) for _ in range(2))
    server.pump()
    server.client.reset(first)
    assert server.client.open_streams == 1
    server.h2.send_headers(first, [*RESPONSE, ("x-indexed", "by this block")])
    server.h2.send_data(first, prefixed(b"late"))
    assert server.client.receive(server.h2.data_to_send()) == []
    server.pump()
    (reset,) = server.of(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (first, ErrorCode.CANCEL)
    server.h2.send_headers(second, [*RESPONSE, ("x-indexed", "by this block")])  # now an index of the table
    server.h2.send_data(second, prefixed(b"in time"))
    assert server.pump() == [(second, b"in time")]


def test_receive_windows_are_opened_again_by_exactly_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_connection, "TOP_UP_BYTES", 100_000)
    server = H2Server()
    long_lived, reset, ended = (server.client.open_stream(PATH) for _ in range(3))
    server.pump()
    for stream_id in (long_lived, reset, ended):
        server.respond(stream_id)
    server.pump()
    lowest = frames.MAX_WINDOW_BYTES
    for number in range(80):
        server.h2.send_data(long_lived, prefixed(bytes(number * 97)), pad_length=number if number % 3 == 0 else None)
        if number < 7:
            server.h2.send_data(reset, bytes(1000), pad_length=9)  # of one message that never ends
        if number == 5:
            server.client.reset(reset)  # what is on its way still counts
        if number == 20:
            server.h2.send_data(ended, prefixed(b"x" * 700))
            server.h2.send_headers(ended, OK, end_stream=True)
        server.pump() if number != 5 else server.client.receive(server.h2.data_to_send())
        lowest = min(lowest, server.h2.outbound_flow_control_window)
    assert 50_000 < frames.MAX_WINDOW_BYTES - lowest < 100_000
    granted = [event for event in server.of(h2.events.WindowUpdated) if event.stream_id == 0]
    assert 2 < len(granted) < 8
    server.h2.send_data(long_lived, bytes(1))
    server.client._untopped_bytes = 100_000
    server.pump()
    assert server.h2.outbound_flow_control_window == frames.MAX_WINDOW_BYTES
    assert server.h2.local_flow_control_window(long_lived) == frames.MAX_WINDOW_BYTES
