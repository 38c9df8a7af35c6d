"""HttpExchange: a request in flight to an OpenAI-compatible endpoint, from its sending to the end of its answer."""

from __future__ import annotations

from collections.abc import Sequence

from trtbench.client.answer_bounds import most_responses, most_text_bytes, too_many_responses
from trtbench.client.http1.event_chunks import EventReads
from trtbench.client.in_flight import InFlight, responses_left
from trtbench.client.openai.answer_events import END_MARK, Piece
from trtbench.client.openai.endpoints import Endpoint
from trtbench.client.openai.http_errors import event_error, status_error
from trtbench.client.openai.request_shape import CountSource
from trtbench.client.openai.token_account import TokenAccount
from trtbench.client.protocol import Limits
from trtbench.client.request_outcome import end, end_with_final
from trtbench.client.wire import StreamEnded
from trtbench.rundir.records import Outcome, RequestRecord

NO_END_MARK = "the stream ended without [DONE]: the answer is cut off"
NO_FINISH = "the stream ended without a finish_reason: the answer is cut off"
_NO_LIMIT = 1 << 62
_MOST_KEPT = 16  # events of an answer that are kept until they are decoded together; a pacer sees their arrivals only then
_SPARE_PROMPT_TOKENS = 1 << 16
"""The most tokens that a chat template and a system prompt may add to the bytes of a request."""


class HttpExchange(InFlight):
    """A request that is answered by a stream of events, or by one JSON object. It is over when the answer has ended: only then can its
    connection carry the next request, and only then is it known whether the answer is whole."""

    __slots__ = (
        "_account",
        "_done_lag_ns",
        "_done_ns",
        "_endpoint",
        "_last_event",
        "_marked",
        "_most_events",
        "_most_tokens",
        "_reads",
        "_request_bytes",
        "_streams",
    )

    ends_stream = True

    def __init__(
        self,
        record: RequestRecord,
        limits: Limits,
        endpoint: Endpoint,
        counts: CountSource,
        request_bytes: int,
        streams: bool,
        accumulates: bool = False,
    ) -> None:
        """`streams`: whether the answer is asked for as a stream. For the others see TokenAccount."""
        super().__init__(record, limits)
        self._endpoint, self._streams, self._request_bytes = endpoint, streams, request_bytes
        asked = record.asked_output_tokens
        self._account = TokenAccount(counts, asked, most_text_bytes(asked, request_bytes), accumulates)
        self._most_events = most_responses(asked)
        self._most_tokens = _NO_LIMIT if limits.cancel_after_tokens is None else limits.cancel_after_tokens
        self._done_ns = 0
        self._done_lag_ns: int | None = None
        self._marked, self._last_event = False, b""
        self._reads: EventReads | None = None

    def take_message(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        self._take_reads()
        self._take_event(message, arrived_ns, lag_ns, alone)
        self._last_event = message

    def next_token_read(self) -> EventReads | None:
        """Keeps further events, as long as their number cannot end the request."""
        left = self._events_left - 2  # decoding notices when only the last event is left
        if not self._running or not self._account.arrivals_ns or self._most_tokens != _NO_LIMIT or left <= 0:
            return None
        self._reads = EventReads(self._stream_id, self._last_event, min(left, _MOST_KEPT))
        return self._reads

    def give_up(self, outcome: Outcome, error: str) -> None:
        self._take_reads()
        super().give_up(outcome, error)

    def connection_lost(self, cause: str) -> None:
        self._take_reads()
        if self._running:
            super().connection_lost(cause)

    def _take_reads(self) -> None:
        """Decode the events that were only kept when they were read."""
        reads, self._reads = self._reads, None
        for event, arrived_ns, lag_ns in reads.kept if reads else ():
            self._take_event(bytes(event), arrived_ns, lag_ns, True)

    def _take_event(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        if not self._running:
            return
        self._done_ns, self._done_lag_ns = arrived_ns, lag_ns
        if message == END_MARK:
            self._marked = True
            return
        try:
            piece = self._endpoint.decode(message)
        except ValueError as error:
            self._fail(Outcome.OTHER, f"malformed answer: {error}")
            return
        if piece.error:
            self._fail(*event_error(piece))
            return
        self._take_piece(piece, arrived_ns, lag_ns, alone)

    def stream_ended(self, stream_end: StreamEnded) -> None:
        self._take_reads()
        if not self._running:
            return
        account, record = self._account, self._record
        if stream_end.status.startswith("HTTP "):
            outcome, error = status_error(int(stream_end.status.split()[1]), stream_end.message)
            record.retry_after_s = stream_end.retry_after_s
            end(record, outcome, error)
        elif stream_end.status != "OK":
            self._end_unanswered(stream_end, bool(account.arrivals_ns or self._done_ns))
        elif self._streams and self._endpoint.marks_end and not (self._marked and record.finish_reason):
            end(record, Outcome.INCOMPLETE, NO_FINISH if self._marked else NO_END_MARK, self._done_ns or None)
        else:
            fault = account.fault(_SPARE_PROMPT_TOKENS + self._request_bytes)
            end_with_final(record, bool(account.arrivals_ns), self._done_ns, fault)
        self._finish()

    @property
    def is_mid_answer(self) -> bool:
        return self._running and bool(self._account.arrivals_ns) and self._events_left > 1

    @property
    def _events_left(self) -> int:
        account, asked = self._account, min(self._record.asked_output_tokens, self._most_tokens)
        return responses_left(asked, account.tokens, account.last_tokens, len(account.arrivals_ns))

    @property
    def arrivals_ns(self) -> Sequence[int]:
        return self._account.arrivals_ns

    def _take_piece(self, piece: Piece, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        account, record = self._account, self._record
        alone = alone or not self._streams  # the end of a whole answer has the newest timestamp of its read
        account.take(piece, arrived_ns, lag_ns, alone)
        if piece.finish_reason:
            record.finish_reason = piece.finish_reason[:64]
        if piece.model_version:
            record.model_version = piece.model_version[:64]
        if account.tokens >= self._most_tokens:
            self.give_up(Outcome.CANCELLED, self._limits.tokens_reached(account.tokens))
        elif len(account.arrivals_ns) > self._most_events:
            self.give_up(Outcome.OTHER, too_many_responses(record.asked_output_tokens))

    def _fail(self, outcome: Outcome, error: str) -> None:
        """End the request, and close its connection: the rest of the answer has no meaning."""
        end(self._record, outcome, error, self._done_ns)
        self._finish()
        self._connection.reset(self._stream_id)

    def _finish(self) -> None:
        self._account.write_to(self._record)
        super()._finish()
