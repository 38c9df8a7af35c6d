"""InFlight: what every request in flight on a stream of our own transport has in common, from its sending to its end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from trtbench.client.errors import end, end_with_status
from trtbench.client.http2.connection import StreamEnded
from trtbench.client.kserve.next_token_fast_path import UsualRead
from trtbench.client.protocol import Limits
from trtbench.client.transport.connection import Link
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import NS_PER_S


class InFlight(ABC):
    """`over` is done at the end. `refused`: the server surely never saw the request, which can be sent again as if nothing had been.

    `cut_off`: its stream, which had `served` others, was ended without an answer. `unsent`: before the request was sent whole, so that the
    server cannot have begun it.
    """

    __slots__ = ("_limits", "_link", "_record", "_running", "_stream_id", "_timer", "cut_off", "over", "refused", "served", "unsent")

    ends_stream = False  # whether the request's one message is the last on its stream

    def __init__(self, record: RequestRecord, limits: Limits) -> None:
        self._record, self._limits = record, limits
        self.over: asyncio.Future[None]
        self.refused = self.cut_off = self.unsent = False
        self.served = 0

    def send(self, stream: tuple[Link, int], message: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.over, self._running = loop.create_future(), True
        self.refused = self.cut_off = self.unsent = False
        self._link, self._stream_id = stream
        sent_ns = self._link.send(self._stream_id, message, self, self.ends_stream)
        if self._record.sent_ns is None:  # one that was refused has been under way since its first sending
            self._record.sent_ns = sent_ns
        until_ns, outcome, error = self._limits.end_of_patience(self._record.sent_ns)
        self._timer = loop.call_later((until_ns - sent_ns) / NS_PER_S, self.give_up, outcome, error)

    @abstractmethod
    def take(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None: ...

    def usual(self) -> UsualRead | None:
        return None

    @abstractmethod
    def stream_ended(self, end: StreamEnded) -> None: ...

    def _end_unanswered(self, stream_end: StreamEnded, answered: bool) -> None:
        """The stream has ended without the request's last word. `answered`: something of an answer came."""
        told = stream_end.message
        if self.served and not answered:
            self.cut_off, self.unsent = True, stream_end.unsent
            told += f" (of a stream that had served {self.served} requests before)"
        self.refused = stream_end.retry_safe and not answered
        end_with_status(self._record, stream_end.status, told)

    def connection_lost(self, cause: str) -> None:
        end(self._record, Outcome.CONNECTION, cause)
        self._finish()

    def give_up(self, outcome: Outcome, error: str) -> None:
        """End it from our side, on the server too; nothing when it is over."""
        if not self._running:
            return
        end(self._record, outcome, error)
        self._finish()
        self._link.reset(self._stream_id)

    def _finish(self) -> None:
        """The record knows its outcome."""
        self._running = False
        self._timer.cancel()
        if not self.over.done():  # it is when the one who waited was cancelled
            self.over.set_result(None)
