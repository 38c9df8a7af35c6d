"""Reads that are taken by their bytes: only those that parsing would take the same way, and nothing is lost around them."""

from __future__ import annotations

import struct
import time
from array import array
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from tests.support.asking import BARE, EVERY_LOOP, LATER_NS, ask_all, new_record
from tests.support.fakes.fake_http2 import Peer, final_message, framed, serving, token_message
from trtbench.client.answer_bounds import LONGEST_LAG_NS
from trtbench.client.http2 import wire_connection as wire_module
from trtbench.client.http2.wire_connection import WireConnection
from trtbench.client.kserve.exchange import Exchange
from trtbench.client.kserve.messages import decode_response
from trtbench.client.kserve.next_token_fast_path import NextTokenRead, TokenTemplate, token_template
from trtbench.client.protocol import Limits
from trtbench.rundir.records import Outcome
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.system.clock import now_ns

ids_of = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=40)


def message(ids: list[int], length: int | None = None, final: bool = False, first: str = "output_ids", error: str = "") -> bytes:
    stream = service_pb2.ModelStreamInferResponse(error_message=error)
    infer = stream.infer_response
    infer.model_name, infer.model_version, infer.id = "m" * 200, "1", "x-1"  # a length of two bytes on the wire
    infer.parameters["triton_final_response"].bool_param = final
    tensors = {"output_ids": np.array(ids, np.int32), "sequence_length": np.array([len(ids) if length is None else length], np.int32)}
    for name in sorted(tensors, key=lambda name: name != first):
        infer.outputs.add(name=name, datatype="INT32", shape=[1, 1, tensors[name].size])
        infer.raw_output_contents.append(tensors[name].tobytes())
    return bytes(stream.SerializeToString())


def template_of(raw: bytes) -> TokenTemplate | None:
    return token_template(raw, decode_response(raw))


def matches(template: TokenTemplate, raw: bytes) -> bool:
    return len(raw) == template.size and raw.startswith(template.prefix) and raw.endswith(template.suffix)


@given(ids_of, st.data(), st.sampled_from(["output_ids", "sequence_length"]))
def test_a_match_is_what_protobuf_reads(ids: list[int], data: st.DataObject, first: str) -> None:
    others = data.draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=len(ids), max_size=len(ids)))
    template, later = template_of(message(ids, first=first)), message(others, first=first)
    assert template and matches(template, later)
    assert array("i", later[template.start : template.stop]).tolist() == decode_response(later).tokens == others
    assert template.tokens == len(others)


@given(ids_of, st.data())
def test_bytes_changed_anywhere_either_do_not_match_or_mean_the_same(ids: list[int], data: st.DataObject) -> None:
    """The proof that the shortcut makes: whatever matches is a plain token response with the window's ids."""
    raw = message(ids)
    template = template_of(raw)
    assert template
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if matches(template, bytes(changed)):
        response = decode_response(bytes(changed))
        assert response.tokens == array("i", changed[template.start : template.stop]).tolist()
        assert not response.final and not response.error and response.times is None


@pytest.mark.parametrize(
    "raw",
    [
        message([1, 2], final=True),
        message([1, 2], error="broken"),
        message([1, 2, 0, 0], length=2),  # padding: how much of it counts may change
        message([]),
        service_pb2.ModelStreamInferResponse(error_message="no").SerializeToString(),
        b"",
    ],
    ids=["final", "error", "padded", "no tokens", "error alone", "empty"],
)
def test_what_says_more_than_tokens_makes_no_template(raw: bytes) -> None:
    assert template_of(raw) is None


def test_a_final_response_with_tokens_of_the_same_length_does_not_match() -> None:
    template, last = template_of(message([1, 2])), message([3, 4], final=True)
    assert template and len(last) == template.size and not matches(template, last)


def test_tensors_that_lie_elsewhere_make_no_template() -> None:
    """Contents inside the tensor (`contents`), two tensors of one name, a message in two pieces."""
    twice = service_pb2.ModelStreamInferResponse()
    for value in (1, 2):
        twice.infer_response.outputs.add(name="output_ids", datatype="INT32", shape=[1, 1, 1])
        twice.infer_response.raw_output_contents.append(np.int32(value).tobytes())
    raw = twice.SerializeToString()
    assert template_of(raw) is None
    assert template_of(message([1]) + message([2])) is None


pytestmark = pytest.mark.timeout(60)
STREAM = 5
KERNEL, USER = ClientSettings(), ClientSettings(kernel_stamps=False)


def data_frame(message: bytes, stream: int = STREAM, flags: int = 0) -> bytes:
    frame = framed(message)
    return struct.pack(">I", len(frame) << 8)[:3] + bytes([0, flags]) + struct.pack(">I", stream) + frame


class Taker:
    """A NextTokenRead that knows the form of one token's message, and what it took."""

    def __init__(self, *tokens: int) -> None:
        message = token_message(*tokens)
        template = token_template(message, decode_response(message))
        assert template
        self.ids, self.arrivals, self.lags = array("i"), array("q"), array("i")
        self.read = NextTokenRead(STREAM, template, self.ids, self.arrivals, self.lags)

    def takes(self, data: bytes, lag_ns: int | None = 3) -> bool:
        buffer = bytearray(data + b"what an earlier read left behind")
        return self.read.take_read(buffer, len(data), 100, lag_ns)


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**40) | st.none())
def test_the_next_token(token: int, lag_ns: int | None) -> None:
    taker = Taker(7)
    assert taker.takes(data_frame(token_message(token)), lag_ns)
    assert (taker.ids.tolist(), taker.arrivals.tolist()) == ([token], [100])
    assert taker.lags.tolist() == ([] if lag_ns is None else [min(lag_ns, LONGEST_LAG_NS)])
    assert taker.read.flow_bytes == len(framed(token_message(token)))


@pytest.mark.parametrize(
    "data",
    [
        data_frame(token_message(8, 9)),
        data_frame(token_message(8))[:-1],
        data_frame(token_message(8)) + b"\0",
        data_frame(token_message(8)) * 2,
        data_frame(token_message(8), stream=STREAM + 2),
        data_frame(token_message(8), flags=1),
        data_frame(final_message()),
        b"",
    ],
    ids=["two tokens", "cut", "and a byte", "twice", "another stream", "the last frame", "final", "nothing"],
)
def test_all_else_is_left_to_parsing(data: bytes) -> None:
    taker = Taker(7)
    assert not taker.takes(data)
    assert not taker.ids and not taker.arrivals and not taker.lags and not taker.read.taken


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_byte_that_differs_outside_the_ids(position: int, change: int) -> None:
    taker, frame = Taker(7), bytearray(data_frame(token_message(7)))
    start = bytes(frame).rindex(struct.pack("<i", 7))
    position %= len(frame)
    frame[position] ^= change
    assert taker.takes(bytes(frame)) is (start <= position < start + 4)


def test_a_request_that_ends_by_a_count_of_tokens_is_parsed() -> None:
    exchange = Exchange(new_record(), Limits(now_ns() + LATER_NS, cancel_after_tokens=3), b"")
    assert exchange.next_token_read() is None


@pytest.mark.process
@EVERY_LOOP
@pytest.mark.parametrize("settings", [KERNEL, USER], ids=["kernel", "user"])
def test_a_request_of_all_kinds_of_reads(fast_loop: bool, settings: ClientSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens one by one, a PING and a message in two parts among them."""
    parsed: list[int] = []
    receive = WireConnection.receive

    def counted(self: WireConnection, data: Any) -> Any:
        parsed.append(len(data))
        return receive(self, data)

    monkeypatch.setattr(WireConnection, "receive", counted)
    ping = struct.pack(">I", 8 << 8)[:3] + b"\x06\0" + bytes(4) + b"12345678"

    def script(peer: Peer) -> None:
        peer.begin()
        stream = peer.request()
        peer.headers(stream)
        for token in range(20):
            time.sleep(0.005)
            frame = data_frame(token_message(token), stream)
            cut = len(frame) // 2 if token == 7 else len(frame)
            peer.raw(frame[:cut])
            if token == 11:
                peer.raw(ping)
            if cut < len(frame):
                time.sleep(0.005)
                peer.raw(frame[cut:])
        time.sleep(0.005)
        peer.raw(data_frame(final_message(), stream))
        peer.wait_gone()

    with serving(script) as server:
        [record], _ = ask_all(replace(BARE, url=server.url), 1, settings, fast_loop)
    assert record.outcome is Outcome.COMPLETED, record.error
    assert record.output_ids == list(range(20)) and record.token_counts == [1] * 20
    assert record.token_ns == sorted(record.token_ns) and len(record.token_lag_ns) == (20 if settings is KERNEL else 0)
    assert len(parsed) < 15, "most of 20 tokens are taken by their bytes"


def test_windows_count_what_was_read_past_http2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_module, "TOP_UP_BYTES", 1000)
    connection = WireConnection("localhost:1")
    stream = connection.open_stream("/s/m")
    connection.take_output()
    connection.count_bypassed(stream, 999)
    assert connection.take_output() == b""
    connection.count_bypassed(stream, 1)
    update = struct.pack(">IBII", 4 << 8 | 8, 0, stream, 1000) + struct.pack(">IBII", 4 << 8 | 8, 0, 0, 1000)
    assert connection.take_output() == update
