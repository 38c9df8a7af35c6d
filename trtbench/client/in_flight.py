"""InFlight: one request in flight on a stream, from its sending to its end; each client has its own kinds of it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

from trtbench.client.protocol import Limits
from trtbench.client.request_outcome import end, end_with_status
from trtbench.client.transport.connection import Connection
from trtbench.client.wire import DirectRead, StreamEnded
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import NS_PER_S


class InFlight(ABC):
    """A request in flight. `over` is done when it has ended.

    `refused`: the server certainly did not process the request, so it can be sent again. `cut_off`: its stream, which had `served` other
    requests before, was ended without an answer. `unsent`: the stream ended before all of the request was sent, so the server cannot have
    begun it.
    """

    __slots__ = ("_connection", "_limits", "_record", "_running", "_stream_id", "_timer", "cut_off", "over", "refused", "served", "unsent")

    ends_stream = False  # whether the message of the request is the last on its stream

    def __init__(self, record: RequestRecord, limits: Limits) -> None:
        self._record, self._limits = record, limits
        self.over: asyncio.Future[None]
        self.refused = self.cut_off = self.unsent = False
        self.served = 0

    def start_on(self, stream: tuple[Connection, int], message: bytes) -> None:
        """Send the request on an idle stream."""
        loop = asyncio.get_running_loop()
        self.over, self._running = loop.create_future(), True
        self.refused = self.cut_off = self.unsent = False
        self._connection, self._stream_id = stream
        sent_ns = self._connection.send_on_stream(self._stream_id, message, self, self.ends_stream)
        if self._record.sent_ns is None:  # a request that was refused counts from its first sending
            self._record.sent_ns = sent_ns
        until_ns, outcome, error = self._limits.first_in_time(self._record.sent_ns)
        self._timer = loop.call_later((until_ns - sent_ns) / NS_PER_S, self.give_up, outcome, error)

    @abstractmethod
    def take_message(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None: ...

    def next_token_read(self) -> DirectRead | None:
        return None

    @property
    def is_mid_answer(self) -> bool:
        return False

    @property
    def arrivals_ns(self) -> Sequence[int]:
        return ()

    @abstractmethod
    def stream_ended(self, end: StreamEnded) -> None: ...

    def _end_unanswered(self, stream_end: StreamEnded, answered: bool) -> None:
        """End a request whose stream ended before its final response. `answered`: part of an answer had arrived."""
        message = stream_end.message
        if self.served and not answered:
            self.cut_off, self.unsent = True, stream_end.unsent
            message += f" (of a stream that had served {self.served} requests before)"
        self.refused = stream_end.retry_safe and not answered
        end_with_status(self._record, stream_end.status, message)

    def connection_lost(self, cause: str) -> None:
        end(self._record, Outcome.CONNECTION, cause)
        self._finish()

    def give_up(self, outcome: Outcome, error: str) -> None:
        """End the request from the client's side, and cancel it on the server; does nothing if it is over."""
        if not self._running:
            return
        end(self._record, outcome, error)
        self._finish()
        self._connection.reset(self._stream_id)

    def _finish(self) -> None:
        """Mark the request as over. Its record has the outcome already."""
        self._running = False
        if self._record.coalesced and self._connection.streams <= 1:  # more: the read may have had a response of another stream
            mark_read_with_end(self._record)
        self._timer.cancel()
        if not self.over.done():  # it is done if the waiting task was cancelled
            self.over.set_result(None)


def mark_read_with_end(record: RequestRecord) -> None:
    """Take a last response that was read with only the end of its answer out of those that were read with other responses."""
    arrivals, coalesced, last = record.token_ns, record.coalesced, len(record.token_ns) - 1
    if coalesced[-1] != last:
        return
    if coalesced[-2:-1] == [last - 1] and arrivals[last - 1] == arrivals[last]:
        return
    record.read_with_end = True
    coalesced.pop()


def responses_left(asked_tokens: int, tokens: int, last_tokens: int, responses: int) -> int:
    """The number of further responses that are expected after `responses` with `tokens` in all, if each has as many tokens as the last one.

    Beyond the requested number of tokens, and if their number is unknown (0 or less), each counts as one."""
    if last_tokens > 0 and tokens <= asked_tokens:
        return -((tokens - asked_tokens) // last_tokens)
    return asked_tokens - responses
