"""Who waits on a stream of a Link."""

from __future__ import annotations

from typing import Protocol

from trtbench.client.http2.connection import StreamEnded
from trtbench.client.kserve.next_token_fast_path import UsualRead


class Receiver(Protocol):
    """Who waits on a stream."""

    def take(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        """`lag_ns`: how much later it was read, None without kernel stamps. Not `alone`: the stamp may be that of what it was read with."""

    def usual(self) -> UsualRead | None:
        """What takes reads that hold just its next message, in place of `take`; None: nothing can."""

    def stream_ended(self, end: StreamEnded) -> None: ...

    def connection_lost(self, cause: str) -> None: ...


class Nobody:
    """Waits on a stream that was closed."""

    def take(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        pass

    def usual(self) -> None:
        return None

    def stream_ended(self, end: StreamEnded) -> None:
        pass

    def connection_lost(self, cause: str) -> None:
        pass


NOBODY = Nobody()
