"""Stream: a gRPC stream that carries one request after another, and how much it has carried; a proxy bounds both amount and age."""

from __future__ import annotations

from trtbench.client.transport.connection import Connection
from trtbench.system.clock import now_ns


class ServedVersion:
    """The model version that answered the newest request. An older version may still end an earlier request after that."""

    def __init__(self) -> None:
        self._version, self._sent_ns = "", 0

    def replaced_by(self, version: str, sent_ns: int) -> bool:
        """Record which version answered a request that was sent at `sent_ns`; returns whether it replaces the version before."""
        if not version or sent_ns < self._sent_ns:
            return False
        before, self._version, self._sent_ns = self._version, version, sent_ns
        return before not in ("", version)


MOST_BYTES = 1_000_000
"""The most that all requests of a stream may have together: nginx by default resets a stream at 1 MiB (client_max_body_size)."""
OLDEST_NS = 15_000_000_000
"""The greatest age of a stream that a request is sent on: proxies end streams after 15 to 60 s, some of them even busy streams."""


class Wear:
    """The use of a stream so far: the number of answered requests (`served`) and their bytes together (`sent_bytes`)."""

    __slots__ = ("_opened_ns", "sent_bytes", "served")

    def __init__(self) -> None:
        self._opened_ns = now_ns()
        self.served = self.sent_bytes = 0

    def answered(self, request_bytes: int) -> None:
        self.served += 1
        self.sent_bytes += request_bytes

    def allows(self, request_bytes: int, most_requests: int | None, most_bytes: int = MOST_BYTES) -> bool:
        """Whether the stream may carry one more request of `request_bytes`. A new stream that has served none may carry any."""
        if now_ns() - self._opened_ns > OLDEST_NS or (most_requests is not None and self.served >= most_requests):
            return False
        return not self.served or self.sent_bytes + request_bytes <= most_bytes


class Stream(tuple[Connection, int]):
    """(Connection, stream id), and what the stream has carried."""

    wear: Wear

    @classmethod
    def opened(cls, connection: Connection, stream_id: int) -> Stream:
        stream = cls((connection, stream_id))
        stream.wear = Wear()
        return stream
