"""Stream: one that requests are sent on, and what it has carried so far."""

from __future__ import annotations

from trtbench.client.transport.connection import Link
from trtbench.system.clock import now_ns

MOST_BYTES = 1_000_000
"""A stream's requests together: nginx resets one at 1 MiB by default (client_max_body_size)."""
OLDEST_NS = 15_000_000_000
"""From a stream's opening to the sending of its last request: proxies end streams after 15 to 60 s, some whatever goes over them."""


class Wear:
    """What a stream has carried: `served` requests that were answered, `sent_bytes` of them together."""

    __slots__ = ("_opened_ns", "sent_bytes", "served")

    def __init__(self) -> None:
        self._opened_ns = now_ns()
        self.served = self.sent_bytes = 0

    def answered(self, request_bytes: int) -> None:
        self.served += 1
        self.sent_bytes += request_bytes

    def allows(self, request_bytes: int, most_requests: int | None, most_bytes: int = MOST_BYTES) -> bool:
        """Whether the stream may carry a request of so many bytes more; a young one that has served none takes any."""
        if now_ns() - self._opened_ns > OLDEST_NS or (most_requests is not None and self.served >= most_requests):
            return False
        return not self.served or self.sent_bytes + request_bytes <= most_bytes


class Stream(tuple[Link, int]):
    """(Link, stream id)."""

    wear: Wear

    @classmethod
    def opened(cls, link: Link, stream_id: int) -> Stream:
        stream = cls((link, stream_id))
        stream.wear = Wear()
        return stream
