"""UnaryExchange: one request in flight whose answer is one message, on a stream of our own transport that ends with it."""

from __future__ import annotations

from trtbench.client.http2.connection import StreamEnded
from trtbench.client.kserve.embedding import take_answer
from trtbench.client.kserve.encoder_tensors import EncoderTensors
from trtbench.client.kserve.in_flight import InFlight
from trtbench.client.protocol import Limits
from trtbench.rundir.records import RequestRecord


class UnaryExchange(InFlight):
    """Done when its answer came; that it completed is known with the status, which comes with it or right after."""

    __slots__ = ("_arrived_ns", "_lag_ns", "_message", "_tensors")

    ends_stream = True

    def __init__(self, record: RequestRecord, limits: Limits, tensors: EncoderTensors) -> None:
        super().__init__(record, limits)
        self._tensors = tensors
        self._message: bytes | None = None
        self._arrived_ns = 0
        self._lag_ns: int | None = None

    def take(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        self._message, self._arrived_ns, self._lag_ns = message, arrived_ns, lag_ns

    def stream_ended(self, stream_end: StreamEnded) -> None:
        if stream_end.status == "OK" and self._message is not None:
            self._record.done_lag_ns = self._lag_ns
            take_answer(self._record, self._message, self._tensors, self._arrived_ns)
        else:
            self._end_unanswered(stream_end, self._message is not None)
        self._finish()
