"""What a WireConnection reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The last event of a stream. `status`: the name of the gRPC code. `retry_safe`: the server surely never processed the call.

    `unsent`: part of a message to it was still held back by the peer's windows.
    """

    stream_id: int
    status: str
    message: str
    retry_safe: bool = False
    unsent: bool = False


@dataclass(frozen=True, slots=True)
class GoAway:
    """No stream can be opened any more. Those above `last_stream_id` end right after; the others may go on."""

    last_stream_id: int
    code: int  # of HTTP/2
    debug: str


@dataclass(frozen=True, slots=True)
class SettingsReceived:
    max_concurrent_streams: int | None  # None: no limit


@dataclass(frozen=True, slots=True)
class Pong:
    payload: bytes


Event = tuple[int, bytes] | StreamEnded | GoAway | SettingsReceived | Pong
"""A message is (stream id, its bytes): the hot path makes no object of ours."""
