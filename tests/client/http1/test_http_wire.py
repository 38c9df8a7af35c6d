"""One connection of HTTP/1.1: what it sends, and the events in answers as real servers write them."""

from __future__ import annotations

import gc
import re
from typing import Any

import pytest

from tests.support.fakes.http_answers import (
    LAST_CHUNK,
    TRITON_DATA,
    UVICORN_HEAD,
    VLLM_DATA,
    chunk,
    event,
    plain,
    triton_answer,
    vllm_answer,
)
from trtbench.client.http1.http_answer import Answer, HttpFault
from trtbench.client.http1.http_wire import HttpWire
from trtbench.client.wire import PeerReady, StreamEnded

OK = "OK"


def asking(**settings: Any) -> HttpWire:
    """A wire that has sent one request."""
    wire = HttpWire("host:8000", **settings)
    ask(wire)
    return wire


def ask(wire: HttpWire, body: bytes = b"{}") -> int:
    stream_id = wire.open_stream("/v1/completions")
    wire.send_message(stream_id, body)
    wire.take_output()
    return stream_id


def answered(data: bytes, **settings: Any) -> tuple[list[bytes], StreamEnded]:
    """The messages of a whole answer, and its end."""
    *messages, end = asking(**settings).receive(data)
    assert isinstance(end, StreamEnded)
    return [message for _, message in messages], end


def test_a_request() -> None:
    wire = HttpWire("host:8000", headers=(("authorization", "Bearer key"), ("accept", "text/event-stream")))
    assert isinstance(wire.receive(b"")[0], PeerReady) and wire.receive(b"") == []
    stream_id = wire.open_stream("/prefix/v1/completions?a=b")
    wire.send_message(stream_id, b'{"prompt": "x"}', True)
    head, body = wire.take_output().split(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /prefix/v1/completions?a=b HTTP/1.1"
    assert {b"host: host:8000", b"authorization: Bearer key", b"accept: text/event-stream", b"content-length: 15"} < set(lines)
    assert sum(line.startswith(b"accept:") for line in lines) == 1 and b"accept-encoding: identity" in lines
    assert body == b'{"prompt": "x"}' and wire.take_output() == b""


@pytest.mark.parametrize("path", ["", "v1", "/a b", "/a\r\nx: y", "/a#b", "/\u00e4"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="begins with /"):
        HttpWire("host:8000").open_stream(path)


def test_one_request_at_a_time() -> None:
    wire = asking()
    assert not wire.can_open
    with pytest.raises(HttpFault, match="one request at a time"):
        wire.open_stream("/")
    with pytest.raises(HttpFault, match="no further message"):
        wire.send_message(1, b"")
    wire.receive(plain(b"200 OK", b"{}"))
    assert wire.can_open and not wire.is_over
    assert ask(wire) == 2
    assert wire.receive(plain(b"200 OK", b"[]")) == [(2, b"[]"), StreamEnded(2, OK, "")]


def test_a_stream_of_vllm() -> None:
    assert answered(vllm_answer()) == (list(VLLM_DATA), StreamEnded(1, OK, ""))


def test_a_stream_of_triton() -> None:
    assert answered(triton_answer()) == (list(TRITON_DATA), StreamEnded(1, OK, ""))


def test_reads_of_one_event() -> None:
    """Between chunks, which a read of one chunk leaves and every other read too if it ends with an event."""
    wire = asking()
    wire.receive(UVICORN_HEAD)
    assert not wire.between_messages(1)  # a byte order mark may come
    for data in VLLM_DATA[:2]:
        assert wire.receive(memoryview(chunk(event(data)))) == [(1, data)]
        assert wire.between_messages(1)
    whole = chunk(event(VLLM_DATA[2]))
    assert wire.receive(whole[:30]) == [] and not wire.between_messages(1)
    assert wire.receive(whole[30:]) == [(1, VLLM_DATA[2])] and wire.between_messages(1)
    assert wire.receive(chunk(b": ping\n\n")) == [] and wire.between_messages(1)
    assert wire.receive(b"7;name=value\r\ndata: x\r\n2\r\n\n\n\r\n") == [(1, b"x")] and wire.between_messages(1)
    assert wire.receive(LAST_CHUNK) == [StreamEnded(1, OK, "")]
    assert wire.can_open and not wire.between_messages(1)


def test_what_looks_like_a_chunk_and_is_none() -> None:
    for size in (b"0x9", b"+9", b" 9", b"9 ", b"8", b"a"):
        wire = asking()
        wire.receive(UVICORN_HEAD + chunk(event(b"a")))
        assert wire.between_messages(1)
        try:
            events = wire.receive(size + b"\r\ndata: b\n\n\r\n")
        except HttpFault as fault:
            events = list(fault.events)
        fresh = asking()
        try:
            expected = fresh.receive(UVICORN_HEAD + chunk(event(b"a")) + size + b"\r\ndata: b\n\n\r\n")
        except HttpFault as fault:
            expected = list(fault.events)
        assert [(1, b"a"), *events] == expected, size


@pytest.mark.parametrize("length", [b"", b"connection: close\r\n"])
def test_a_body_that_ends_with_the_connection(length: bytes) -> None:
    wire = asking()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n" + length + b"\r\n"
    assert wire.receive(head + event(b"a")) == [(1, b"a")]
    assert wire.receive_end(in_order=True, crossed=True) == [StreamEnded(1, OK, "")]
    assert wire.is_over
    broken = asking()
    broken.receive(head)
    assert broken.receive_end(in_order=False, crossed=False) == []  # the connection reports its own loss


def test_a_chunked_answer_is_not_ended_by_the_connection() -> None:
    wire = asking()
    wire.receive(UVICORN_HEAD + chunk(event(b"a")))
    assert wire.receive_end(in_order=True, crossed=True) == []


def test_an_idle_connection_that_the_server_closes() -> None:
    """Just as a further request is sent: that one was certainly not processed. On a new connection it may have been."""
    wire = asking()
    assert wire.receive_end(in_order=True, crossed=True) == []
    for in_order in (True, False):
        wire = asking()
        wire.receive(plain(b"200 OK", b"{}"))
        ask(wire)
        (end,) = wire.receive_end(in_order, crossed=True)
        assert end.retry_safe and end.status == "UNAVAILABLE" and end.stream_id == 2
    wire = asking()
    wire.receive(plain(b"200 OK", b"{}"))
    ask(wire)
    assert wire.receive_end(in_order=True, crossed=False) == []  # the server had time to begin
    assert HttpWire("host:8000").receive_end(in_order=True, crossed=True) == []


@pytest.mark.parametrize("goodbye", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n"])
def test_a_connection_that_does_not_stay(goodbye: bytes) -> None:
    wire = asking()
    assert wire.receive(goodbye + b"content-length: 2\r\n\r\n{}") == [(1, b"{}"), StreamEnded(1, OK, "")]
    assert wire.is_over and not wire.can_open


def test_a_limit_of_requests() -> None:
    wire = HttpWire("host:8000", most_requests=2)
    for over in (False, True):
        ask(wire)
        wire.receive(plain(b"200 OK", b"{}"))
        assert wire.is_over is over


def test_cancelling_and_closing() -> None:
    wire = asking()
    wire.reset(9)
    assert not wire.is_over
    wire.reset(1)
    assert wire.is_over and not wire.can_open
    wire = HttpWire("host:8000")
    wire.end(wire.open_stream("/"))
    assert wire.is_over


def test_interim_answers() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\ncontent-type: text/html\r\n\r\n"
    assert answered(interim + vllm_answer())[0] == list(VLLM_DATA)
    with pytest.raises(HttpFault, match="interim answers without end"):
        asking().receive(interim * 9)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\0\0\x12\x04\0\0\0\0\0", r"began with '\\x00\\x00\\x12\\x04"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "began with 'SSH-2.0"),
        (plain(b"101 Switching Protocols", b"", b"upgrade: h2c", b"connection: upgrade"), "switches to another protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "HTTP/1.1 broken"),
        (plain(b"200 OK", b"{}") + b"HTTP/1.1 200 OK\r\n", "after the end of its answer"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, "more than 65536 bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 70_000, "more than 65536 bytes"),
    ],
)
def test_faults(data: bytes, fault: str) -> None:
    wire = asking()
    with pytest.raises(HttpFault) as found:
        wire.receive(data)
    assert wire.is_over and re.search(fault, found.value.cause)


def test_a_fault_after_the_end_leaves_the_answer() -> None:
    with pytest.raises(HttpFault) as fault:
        asking().receive(plain(b"200 OK", b"{}") + b"x")
    assert fault.value.events == [(1, b"{}"), StreamEnded(1, OK, "")]


def test_bytes_that_answer_no_request() -> None:
    with pytest.raises(HttpFault, match="answer no request"):
        HttpWire("host:8000").receive(b"HTTP/1.1 408 Request Timeout\r\n")


def test_the_size_of_a_chunk_without_end() -> None:
    wire = asking()
    wire.receive(UVICORN_HEAD + b"5;")
    with pytest.raises(HttpFault, match="chunk's size"):
        for _ in range(100):
            wire.receive(b"x" * 1000)


def test_no_answer_is_left_when_its_request_is_over() -> None:
    """Without a garbage collection, which a load does without."""
    gc.collect()
    gc.disable()
    try:
        wire = HttpWire("host:8000")
        for data in (vllm_answer(), plain(b"200 OK", b"{}"), plain(b"500 Oops", b"x" * 9000)):
            ask(wire)
            wire.receive(data)
        asking().reset(1)
        asking().receive_end(in_order=False, crossed=False)
        with pytest.raises(HttpFault):
            asking().receive(b"nonsense")
        assert [found for found in gc.get_objects() if isinstance(found, Answer)] == []
    finally:
        gc.enable()


def test_overlong_messages() -> None:
    for data in (UVICORN_HEAD + chunk(event(b"a")) + chunk(event(b"b" * 100)), UVICORN_HEAD + chunk(event(b"a") + b"data: " + b"b" * 100)):
        wire = asking(most_bytes=50)
        assert wire.receive(data) == [(1, b"a"), StreamEnded(1, "INTERNAL", "a message of more than 50 bytes, over the limit 50")]
        assert wire.is_over
    assert answered(plain(b"200 OK", b"x" * 51), most_bytes=50)[1].status == "INTERNAL"
    wire = asking(most_bytes=50)
    wire.receive(UVICORN_HEAD + chunk(event(b"a")))
    assert wire.receive(chunk(event(b"b" * 100)))[0].status == "INTERNAL"  # in a read of one chunk too


def test_an_answer_that_is_compressed_although_it_must_not_be() -> None:
    messages, end = answered(plain(b"200 OK", b"\x1f\x8b", b"content-encoding: gzip"))
    assert messages == [] and end.status == "INTERNAL" and "Content-Encoding gzip" in end.message
