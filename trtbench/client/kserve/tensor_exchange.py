"""TensorExchange: a request to a decoupled model of any kind, which is answered by any number of responses."""

from __future__ import annotations

from array import array

from trtbench.client.answer_bounds import LONGEST_LAG_NS
from trtbench.client.in_flight import InFlight
from trtbench.client.kserve.tensor_messages import AnswerCheck, outcome_of
from trtbench.client.protocol import Limits
from trtbench.client.request_outcome import classify, end
from trtbench.client.wire import StreamEnded
from trtbench.rundir.records import Outcome, RequestRecord

MOST_RESPONSES = 1 << 20
"""The most responses of one request: the instants of more are not kept."""


class TensorExchange(InFlight):
    """Each response with output is recorded as one with a single token, so that instants and gaps are those of a stream of tokens."""

    __slots__ = ("_check", "_coalesced", "_lag_ns", "_response_ns", "_wrong")

    def __init__(self, record: RequestRecord, limits: Limits, check: AnswerCheck) -> None:
        super().__init__(record, limits)
        self._check = check
        self._response_ns, self._lag_ns, self._coalesced = array("q"), array("i"), array("i")
        self._wrong = ""

    def take_message(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        answer = self._check.read_response(self._record, message)
        self._record.model_version = answer.version or self._record.model_version
        self._wrong = self._wrong or answer.wrong
        if answer.has_output:
            if not alone:
                self._coalesced.append(len(self._response_ns))
            self._response_ns.append(arrived_ns)
            if lag_ns is not None:
                self._lag_ns.append(min(lag_ns, LONGEST_LAG_NS))
        if answer.error:
            end(self._record, classify("", answer.error), answer.error, arrived_ns)
            self._finish()
            self._connection.reset(self._stream_id)
        elif answer.fault:
            self.give_up(*outcome_of(answer.fault, ""))
        elif answer.final:
            end(self._record, *outcome_of("", self._wrong), arrived_ns)
            self._finish()
            self._connection.release(self._stream_id)
        elif len(self._response_ns) > MOST_RESPONSES:
            self.give_up(Outcome.OTHER, f"the server sent more than {MOST_RESPONSES} responses")

    def stream_ended(self, stream_end: StreamEnded) -> None:
        self._end_unanswered(stream_end, bool(self._response_ns))
        self._finish()

    def _finish(self) -> None:
        """Copy what has arrived into the record, which has the outcome already."""
        record = self._record
        record.token_ns, record.token_lag_ns, record.coalesced = self._response_ns.tolist(), self._lag_ns.tolist(), self._coalesced.tolist()
        record.token_counts = [1] * len(record.token_ns)
        super()._finish()
