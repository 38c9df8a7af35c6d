"""Deframer: the messages in the DATA of one stream, whatever their frames' edges (gRPC's Length-Prefixed-Message)."""

from __future__ import annotations

import struct
from typing import Any

from trtbench.client.http2.frames import ErrorCode
from trtbench.client.http2.grpc_status import StreamFault

_PREFIX = struct.Struct(">BI")
"""Compressed flag, message length."""


class Deframer:
    """`fresh`: the response has begun and its next byte begins a message. `received_bytes`: flow-controlled bytes not yet granted again."""

    __slots__ = ("_part", "answered", "fresh", "received_bytes")

    def __init__(self) -> None:
        self.answered = False  # its response headers have come
        self.fresh = False
        self.received_bytes = 0
        self._part: bytearray | None = None

    @property
    def held_bytes(self) -> int:
        """Of a message that is not yet whole."""
        return len(self._part or b"")

    def take(self, stream_id: int, payload: bytes, max_message_bytes: int, events: list[Any]) -> None:
        """Append each message that is whole to `events` as (stream_id, message).

        StreamFault: DATA before HEADERS, a compressed message, one over `max_message_bytes` (by its prefix: it is not waited for).
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
