"""Exchange and UnaryExchange: one request in flight on a stream, from its sending to its end.

The answer to an Exchange is a sequence of responses, that to a UnaryExchange one message.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from trtbench.client.answer_bounds import LONGEST_LAG_NS, most_ids, most_responses, negative_id, output_count_beyond, too_many_responses
from trtbench.client.in_flight import InFlight, responses_left
from trtbench.client.kserve.messages import Response
from trtbench.client.kserve.next_token_fast_path import NO_LIMIT, NextTokenRead, TokenTemplate, token_template
from trtbench.client.kserve.responses import read_response, whole_text
from trtbench.client.protocol import Limits
from trtbench.client.request_outcome import classify, end, end_with_final
from trtbench.client.wire import StreamEnded
from trtbench.rundir.records import Outcome, RequestRecord


class Exchange(InFlight):
    """A request that is answered by a stream of responses.

    Token ids and instants are kept in arrays, which take a fifth of the memory, and become the lists of the record only at the end."""

    __slots__ = (
        "_accumulates",
        "_body",
        "_coalesced",
        "_count",
        "_count_changes",
        "_most_ids",
        "_most_responses",
        "_most_tokens",
        "_reported_tokens",
        "_template",
        "_token_ids",
        "_token_lag_ns",
        "_token_ns",
    )

    def __init__(self, record: RequestRecord, limits: Limits, body: bytes, accumulates: bool = False) -> None:
        """`body` is the result of `Client.encode_request`. `accumulates`: each response carries all the text so far."""
        super().__init__(record, limits)
        self._most_responses, self._most_ids = most_responses(record.asked_output_tokens), most_ids(record.asked_output_tokens)
        self._most_tokens = NO_LIMIT if limits.cancel_after_tokens is None else limits.cancel_after_tokens
        self._token_ns, self._token_lag_ns = array("q"), array("i")
        self._token_ids, self._coalesced = array("i"), array("i")
        self._count = -1  # tokens of the last response, 0 for an unknown number; a server hardly ever changes it
        self._count_changes: list[tuple[int, int]] = []  # (response, its tokens and those of the following responses)
        self._accumulates = accumulates
        self._body = body  # shared by all requests with this prompt
        self._reported_tokens = 0  # the tokens that a server reports if it answers in text
        self._template: TokenTemplate | None = None

    def take_message(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        template, response = self._template, None
        if (
            template is not None
            and len(message) == template.size
            and message.startswith(template.prefix)
            and message.endswith(template.suffix)
        ):
            carries, tokens = True, template.tokens
            self._token_ids.frombytes(message[template.start : template.stop])
        else:
            response, carries = read_response(self._record, message, self._body, bool(self._token_ns), self._accumulates)
            tokens = response.new_tokens
            self._template = token_template(message, response) or self._template
            self._token_ids.extend(response.tokens[: max(0, self._most_ids - len(self._token_ids))])
            self._reported_tokens += response.reported_tokens or 0
        if carries:
            if not alone:
                self._coalesced.append(len(self._token_ns))
            if tokens != self._count:
                self._count = tokens
                self._count_changes.append((len(self._token_ns), tokens))
            self._token_ns.append(arrived_ns)
            if lag_ns is not None:
                self._token_lag_ns.append(lag_ns if lag_ns < LONGEST_LAG_NS else LONGEST_LAG_NS)
        if response is not None and (response.error or response.final):
            self._conclude(response, arrived_ns)
        elif (arrived := len(self._token_ids) + self._reported_tokens) >= self._most_tokens:
            self.give_up(Outcome.CANCELLED, self._limits.tokens_reached(arrived))
        elif len(self._token_ns) > self._most_responses:
            self.give_up(Outcome.OTHER, too_many_responses(self._record.asked_output_tokens))

    def next_token_read(self) -> NextTokenRead | None:
        """The fast path of further tokens like the last one; none if their number may end the request."""
        template = self._template
        if template is None or not self._running or template.tokens != self._count or self._most_tokens != NO_LIMIT:
            return None
        left = self._responses_left
        most = left - 2 if left > 1 else 1 if left >= 0 else NO_LIMIT  # parsing notices when only the last response is left
        return NextTokenRead(self._stream_id, template, self._token_ids, self._token_ns, self._token_lag_ns, most) if most else None

    @property
    def is_mid_answer(self) -> bool:
        return self._running and bool(self._token_ns) and self._responses_left > 1

    @property
    def arrivals_ns(self) -> Sequence[int]:
        return self._token_ns

    @property
    def _responses_left(self) -> int:
        asked, tokens = min(self._record.asked_output_tokens, self._most_tokens), len(self._token_ids) + self._reported_tokens
        return responses_left(asked, tokens, self._count, len(self._token_ns))

    def stream_ended(self, stream_end: StreamEnded) -> None:
        self._end_unanswered(stream_end, bool(self._token_ns))
        self._finish()

    def _conclude(self, response: Response, arrived_ns: int) -> None:
        """End the request with the server's final response or error."""
        if response.error:
            end(self._record, classify("", response.error), response.error, arrived_ns)
            self._finish()
            self._connection.reset(self._stream_id)
        else:
            fault = negative_id(self._token_ids) or output_count_beyond(self._reported_tokens, self._record.asked_output_tokens)
            end_with_final(self._record, bool(self._token_ns), arrived_ns, fault)
            self._finish()
            self._connection.release(self._stream_id)

    def _finish(self) -> None:
        """Copy what has arrived into the record, which has the outcome already."""
        record = self._record
        record.token_ns, record.token_lag_ns = self._token_ns.tolist(), self._token_lag_ns.tolist()
        record.output_ids, record.coalesced = self._token_ids[: self._most_ids].tolist(), self._coalesced.tolist()
        record.token_counts = []
        for response, tokens in reversed(self._count_changes):
            record.token_counts = [tokens] * (len(record.token_ns) - len(record.token_counts) - response) + record.token_counts
        whole_text(record)
        super()._finish()


EndWithAnswer = Callable[[RequestRecord, bytes, int], None]
"""Ends the record of a request with its one answer, which arrived at an instant: as completed, or with what is wrong with the answer."""


class UnaryExchange(InFlight):
    """A request that is answered by one message. It is done when the answer arrives; whether it completed is known with the status, which
    arrives with the answer or right after."""

    __slots__ = ("_arrived_ns", "_end_with_answer", "_lag_ns", "_message")

    ends_stream = True

    def __init__(self, record: RequestRecord, limits: Limits, end_with_answer: EndWithAnswer) -> None:
        super().__init__(record, limits)
        self._end_with_answer = end_with_answer
        self._message: bytes | None = None
        self._arrived_ns = 0
        self._lag_ns: int | None = None

    def take_message(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        self._message, self._arrived_ns, self._lag_ns = message, arrived_ns, lag_ns

    def stream_ended(self, stream_end: StreamEnded) -> None:
        if stream_end.status == "OK" and self._message is not None:
            self._record.done_lag_ns = self._lag_ns
            self._end_with_answer(self._record, self._message, self._arrived_ns)
        else:
            self._end_unanswered(stream_end, self._message is not None)
        self._finish()
