"""gRPC over HTTP/2: the status of a call by the headers or the reset of its stream, and the messages in the DATA of a stream.

Sources: grpc/doc/PROTOCOL-HTTP2.md ("Length-Prefixed-Message", "Responses", "Errors") and grpc/doc/http-grpc-status-mapping.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from trtbench.client.http2.frames import ErrorCode, error_name

STATUS_NAMES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The names of gRPC's codes; the index is the number in `grpc-status`."""

_OF_RESET: dict[int, str] = {
    ErrorCode.REFUSED_STREAM: "UNAVAILABLE",
    ErrorCode.CANCEL: "CANCELLED",
    ErrorCode.ENHANCE_YOUR_CALM: "RESOURCE_EXHAUSTED",
    ErrorCode.INADEQUATE_SECURITY: "PERMISSION_DENIED",
}

_OF_HTTP = {
    b"400": "INTERNAL",
    b"401": "UNAUTHENTICATED",
    b"403": "PERMISSION_DENIED",
    b"404": "UNIMPLEMENTED",
    b"429": "UNAVAILABLE",
    b"431": "INTERNAL",
    b"502": "UNAVAILABLE",
    b"503": "UNAVAILABLE",
    b"504": "UNAVAILABLE",
}


class StreamFault(Exception):
    """A stream has failed, but not its connection. `status` is the name of the gRPC code, `reset` the HTTP/2 code to reset it with."""

    def __init__(self, status: str, text: str, reset: ErrorCode) -> None:
        super().__init__(text)
        self.status = status
        self.reset = reset


def reset_status(code: int) -> tuple[str, str]:
    """(Status, message) of a stream that the peer reset with an HTTP/2 error code."""
    return _OF_RESET.get(code, "INTERNAL"), f"RST_STREAM with {error_name(code)}"


def header_status(headers: Mapping[bytes, bytes]) -> tuple[str, str]:
    """(Status, message) from the headers that end a call: trailers, or a response that is not one of gRPC."""
    number = headers.get(b"grpc-status")
    if number is not None:
        message = unquote_to_bytes(headers.get(b"grpc-message", b"")).decode("utf-8", "replace")
        known = number.isdigit() and len(number) <= 2 and int(number) < len(STATUS_NAMES)
        return STATUS_NAMES[int(number)] if known else "UNKNOWN", message
    http = headers.get(b":status", b"200")
    if http != b"200":
        return _OF_HTTP.get(http, "UNKNOWN"), f"HTTP status {http.decode('ascii', 'replace')} without a grpc-status"
    content = headers.get(b"content-type", b"").decode("ascii", "replace")
    return "UNKNOWN", f"no grpc-status (content-type {content!r})" if content else "no grpc-status"


def is_grpc(headers: Mapping[bytes, bytes]) -> bool:
    """Whether response headers are those of gRPC, after which messages follow."""
    return headers.get(b":status") == b"200" and headers.get(b"content-type", b"").startswith(b"application/grpc")


_PREFIX = struct.Struct(">BI")
"""Compressed flag, message length."""


class Deframer:
    """Splits the DATA of a stream into messages. `fresh`: the response has begun, and its next byte begins a message.

    `received_bytes` are flow-controlled bytes that were not yet returned to the peer."""

    __slots__ = ("_part", "answered", "fresh", "received_bytes")

    def __init__(self) -> None:
        self.answered = False  # whether its response headers have arrived
        self.fresh = False
        self.received_bytes = 0
        self._part: bytearray | None = None

    @property
    def held_bytes(self) -> int:
        """The number of bytes of a message that is not complete yet."""
        return len(self._part or b"")

    def take_data(self, stream_id: int, payload: bytes, max_message_bytes: int, events: list[Any]) -> None:
        """Append each complete message to `events` as (stream_id, message).

        StreamFault for DATA before HEADERS, for a compressed message, and for a message whose prefix has a length over
        `max_message_bytes`.
        """
        if not self.answered:
            raise StreamFault("INTERNAL", "DATA before HEADERS", ErrorCode.PROTOCOL_ERROR)
        data: bytes | bytearray = payload
        if self._part:
            self._part += payload
            data = self._part
        start, size = 0, len(data)
        while size - start >= _PREFIX.size:
            compressed, length = _PREFIX.unpack_from(data, start)
            if compressed:
                raise StreamFault("INTERNAL", f"a message with the compressed flag {compressed}", ErrorCode.CANCEL)
            if length > max_message_bytes:
                raise StreamFault(
                    "RESOURCE_EXHAUSTED", f"a message of {length} bytes, over the limit {max_message_bytes}", ErrorCode.CANCEL
                )
            end = start + _PREFIX.size + length
            if end > size:
                break
            events.append((stream_id, bytes(memoryview(data)[start + _PREFIX.size : end])))
            start = end
        self._keep(data, start)

    def _keep(self, data: bytes | bytearray, start: int) -> None:
        self.fresh = start == len(data)
        if self.fresh:
            self._part = None
        elif data is self._part:
            del self._part[:start]
        else:
            self._part = bytearray(data[start:])
