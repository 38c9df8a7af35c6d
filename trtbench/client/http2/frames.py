"""HTTP/2 frames (RFC 9113, section 6): the bytes of frames that a client writes and the fields of those that it reads, without state."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from trtbench.client.wire import WireFault

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # the first bytes of a client (section 3.4)
HEADER = struct.Struct(">IBI")
"""A frame's header: length (24 bits) and kind (8 bits) in one word, flags, stream id."""
HEADER_BYTES = HEADER.size
MAX_FRAME_BYTES = 1 << 14  # the longest payload that both sides accept by default; this client does not change it
MAX_WINDOW_BYTES = (1 << 31) - 1
DEFAULT_WINDOW_BYTES = (1 << 16) - 1
STREAM_ID_MASK = (1 << 31) - 1  # the bit above is reserved
MAX_HEADER_BLOCK_BYTES = 1 << 20
"""A status text may be a stack trace of 200 KB. Later header blocks depend on earlier ones, so a block that is longer than this cannot be
skipped and ends the connection."""
_MAX_CONTINUATIONS = 64  # frames of a block, because empty ones could follow each other without end
_LARGEST_FRAME_SETTING = (1 << 24) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)


class ErrorCode(IntEnum):
    """Section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class WireError(WireFault):
    """The connection has failed, or cannot do what was requested. `code` is the HTTP/2 error code."""

    def __init__(self, code: int, text: str, events: Sequence[Any] = ()) -> None:
        super().__init__(text)
        self.code = code
        self.events = events

    @property
    def cause(self) -> str:
        return f"HTTP/2 broken: {error_name(self.code)}: {self}"


def error_name(code: int) -> str:
    """The name of an HTTP/2 error code, or an unknown code in hexadecimal."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"code {code:#x}"


def frame(kind: int, stream_id: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return HEADER.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def settings(values: Mapping[int, int]) -> bytes:
    return frame(SETTINGS, 0, b"".join(struct.pack(">HI", name, value) for name, value in values.items()))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, stream_id, struct.pack(">I", increment))


def rst_stream(stream_id: int, code: int) -> bytes:
    return frame(RST_STREAM, stream_id, struct.pack(">I", code))


def goaway(code: int, debug: bytes) -> bytes:
    """A GOAWAY whose last stream id is 0, because servers open no streams here."""
    return frame(GOAWAY, 0, struct.pack(">II", 0, code) + debug)


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of a DATA or HEADERS frame without its padding; WireError if the padding is longer than the frame."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise WireError(ErrorCode.PROTOCOL_ERROR, "a padding longer than its frame")
    return payload[1 : len(payload) - payload[0]]


def header_block(data: bytes, pos: int) -> tuple[bytes, int]:
    """The header block of the HEADERS frame at `pos` and of its CONTINUATION frames, and where the last of them ends.

    If that is beyond `data`, the block is not complete, and at least the bytes up to there are needed. WireError if another frame is in
    between, or if the block exceeds a limit.
    """
    fragments: list[bytes] = []
    block_bytes, opener = 0, 0
    for _ in range(1 + _MAX_CONTINUATIONS):
        if pos + HEADER_BYTES > len(data):
            return b"", pos + HEADER_BYTES
        word, flags, stream_id = HEADER.unpack_from(data, pos)
        length, kind = word >> 8, word & 0xFF
        end = pos + HEADER_BYTES + length
        if fragments and (kind != CONTINUATION or stream_id & STREAM_ID_MASK != opener):
            raise WireError(ErrorCode.PROTOCOL_ERROR, "a header block is interrupted by another frame")
        opener = stream_id & STREAM_ID_MASK
        block_bytes += length
        if length > MAX_FRAME_BYTES:
            raise WireError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if block_bytes > MAX_HEADER_BLOCK_BYTES:
            break
        if end > len(data):
            return b"", end
        payload = data[pos + HEADER_BYTES : end]
        fragments.append(payload if fragments else _first_fragment(flags, payload))
        if flags & END_HEADERS:
            return b"".join(fragments), end
        pos = end
    raise WireError(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")


def _first_fragment(flags: int, payload: bytes) -> bytes:
    fragment = unpadded(flags, payload)
    if not flags & PRIORITIZED:
        return fragment
    if len(fragment) < 5:
        raise WireError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for their priority")
    return fragment[5:]


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings as (name, value), in the order sent; WireError for values that section 6.5.2 forbids."""
    if len(payload) % 6:
        raise WireError(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    values = list(struct.iter_unpack(">HI", payload))
    for name, value in values:
        if name == INITIAL_WINDOW_SIZE and value > MAX_WINDOW_BYTES:
            raise WireError(ErrorCode.FLOW_CONTROL_ERROR, f"an INITIAL_WINDOW_SIZE of {value}")
        if (name == ENABLE_PUSH and value) or (name == MAX_FRAME_SIZE and not MAX_FRAME_BYTES <= value <= _LARGEST_FRAME_SETTING):
            raise WireError(ErrorCode.PROTOCOL_ERROR, f"setting {name} of {value}")
    return values


def read_number(payload: bytes) -> int:
    """The code of an RST_STREAM or the increment of a WINDOW_UPDATE, whose highest bit is reserved."""
    if len(payload) != 4:
        raise WireError(ErrorCode.FRAME_SIZE_ERROR, f"RST_STREAM or WINDOW_UPDATE of {len(payload)} bytes")
    return int.from_bytes(payload, "big")


def read_goaway(payload: bytes) -> tuple[int, int, bytes]:
    """(Last stream id, error code, debug data) of a GOAWAY."""
    if len(payload) < 8:
        raise WireError(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
    last_stream_id, code = struct.unpack_from(">II", payload)
    return last_stream_id & STREAM_ID_MASK, code, payload[8:]


OPENING = (
    MAGIC
    + settings({ENABLE_PUSH: 0, INITIAL_WINDOW_SIZE: MAX_WINDOW_BYTES, MAX_HEADER_LIST_SIZE: MAX_HEADER_BLOCK_BYTES})
    + window_update(0, MAX_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
)
"""The first bytes of the client: no server push, and receive windows so large that flow control never delays the server."""
