from __future__ import annotations

import struct
from typing import Any

import pytest
from hyperframe.frame import Frame
from hypothesis import given
from hypothesis import strategies as st

from trtbench.client.http2 import frames
from trtbench.client.http2.frames import ErrorCode, WireError

U31 = st.integers(0, frames.STREAM_ID_MASK)


def parsed(data: bytes) -> Any:
    """By an independent implementation."""
    found, length = Frame.parse_frame_header(memoryview(data[:9]))
    assert len(data) == 9 + length
    found.parse_body(memoryview(data[9:]))
    return found


@given(st.integers(1, frames.STREAM_ID_MASK), st.binary(max_size=300), st.booleans())
def test_data_is_written_as_others_read_it(stream_id: int, payload: bytes, last: bool) -> None:
    found = parsed(frames.frame(frames.DATA, stream_id, payload, frames.END_STREAM if last else 0))
    assert (found.stream_id, found.data, "END_STREAM" in found.flags) == (stream_id, payload, last)


@given(st.integers(1, frames.STREAM_ID_MASK), st.integers(1, frames.MAX_WINDOW_BYTES), st.sampled_from(ErrorCode))
def test_control_frames_are_written_as_others_read_them(stream_id: int, increment: int, code: ErrorCode) -> None:
    assert parsed(frames.window_update(stream_id, increment)).window_increment == increment
    assert parsed(frames.rst_stream(stream_id, code)).error_code == code
    goaway = parsed(frames.goaway(code, b"why"))
    assert (goaway.error_code, goaway.last_stream_id, goaway.additional_data) == (code, 0, b"why")
    assert parsed(frames.settings({frames.INITIAL_WINDOW_SIZE: increment})).settings == {4: increment}


def headers_frames(fragments: list[bytes], pad: int | None, prioritized: bool) -> bytes:
    first, *rest = fragments
    flags = (frames.PADDED if pad is not None else 0) | (frames.PRIORITIZED if prioritized else 0) | (0 if rest else frames.END_HEADERS)
    payload = (bytes([pad]) if pad is not None else b"") + (bytes(5) if prioritized else b"") + first + bytes(pad or 0)
    out = frames.frame(frames.HEADERS, 1, payload, flags)
    for index, fragment in enumerate(rest, 1):
        out += frames.frame(frames.CONTINUATION, 1, fragment, frames.END_HEADERS if index == len(rest) else 0)
    return out


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=8), st.none() | st.integers(0, 255), st.booleans(), st.data())
def test_a_header_block_is_joined_and_asks_for_more_until_it_is_whole(
    fragments: list[bytes], pad: int | None, prioritized: bool, data: st.DataObject
) -> None:
    whole = headers_frames(fragments, pad, prioritized)
    assert frames.header_block(b"abc" + whole + b"next", 3) == (b"".join(fragments), 3 + len(whole))
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert cut < frames.header_block(whole[:cut], 0)[1] <= len(whole)


HEADERS = frames.frame(frames.HEADERS, 1)
FULL = bytes(frames.MAX_FRAME_BYTES)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (HEADERS + frames.frame(frames.DATA, 1), ErrorCode.PROTOCOL_ERROR),
        (HEADERS + frames.frame(frames.CONTINUATION, 3, b"", frames.END_HEADERS), ErrorCode.PROTOCOL_ERROR),
        (HEADERS + frames.frame(frames.HEADERS, 1, b"", frames.END_HEADERS), ErrorCode.PROTOCOL_ERROR),
        (HEADERS + frames.frame(frames.CONTINUATION, 1, FULL + b"x")[:20], ErrorCode.FRAME_SIZE_ERROR),
        (HEADERS + 65 * frames.frame(frames.CONTINUATION, 1), ErrorCode.ENHANCE_YOUR_CALM),
        (frames.frame(frames.HEADERS, 1, FULL) + 64 * frames.frame(frames.CONTINUATION, 1, FULL), ErrorCode.ENHANCE_YOUR_CALM),
        (frames.frame(frames.HEADERS, 1, b"\x05abcd", frames.PADDED), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 1, b"abcd", frames.PRIORITIZED), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_a_header_block_that_breaks_a_rule(data: bytes, code: ErrorCode) -> None:
    with pytest.raises(WireError) as caught:
        frames.header_block(data, 0)
    assert caught.value.code == code


@given(st.binary(max_size=100), st.integers(0, 255))
def test_padding(payload: bytes, pad: int) -> None:
    assert frames.unpadded(frames.PADDED, bytes([pad]) + payload + bytes(pad)) == payload
    assert frames.unpadded(0, payload) == payload


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x03ab"])
def test_padding_longer_than_its_frame(payload: bytes) -> None:
    with pytest.raises(WireError, match="padding"):
        frames.unpadded(frames.PADDED, payload)


@given(st.lists(st.tuples(st.integers(7, 0xFFFF), st.integers(0, 0xFFFFFFFF)), max_size=9))
def test_settings_that_are_not_known_pass(values: list[tuple[int, int]]) -> None:
    assert frames.read_settings(b"".join(struct.pack(">HI", *pair) for pair in values)) == values


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (frames.ENABLE_PUSH, 1, ErrorCode.PROTOCOL_ERROR),
        (frames.INITIAL_WINDOW_SIZE, 1 << 31, ErrorCode.FLOW_CONTROL_ERROR),
        (frames.MAX_FRAME_SIZE, (1 << 14) - 1, ErrorCode.PROTOCOL_ERROR),
        (frames.MAX_FRAME_SIZE, 1 << 24, ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_settings_out_of_range(name: int, value: int, code: ErrorCode) -> None:
    with pytest.raises(WireError) as caught:
        frames.read_settings(struct.pack(">HI", name, value))
    assert caught.value.code == code


@given(U31, st.integers(0, 0xFFFFFFFF), st.binary(max_size=40))
def test_goaway_is_read_without_its_reserved_bit(last: int, code: int, debug: bytes) -> None:
    assert frames.read_goaway(struct.pack(">II", last | 1 << 31, code) + debug) == (last, code, debug)


def test_payloads_of_a_wrong_length() -> None:
    for read, size in ((frames.read_number, 3), (frames.read_number, 5), (frames.read_goaway, 7), (frames.read_settings, 5)):
        with pytest.raises(WireError) as caught:
            read(bytes(size))
        assert caught.value.code == ErrorCode.FRAME_SIZE_ERROR


def test_error_names() -> None:
    assert (frames.error_name(7), frames.error_name(0x7F)) == ("REFUSED_STREAM", "code 0x7f")
