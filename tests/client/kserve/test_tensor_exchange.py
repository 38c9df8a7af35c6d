"""TensorExchange: a request to a decoupled model, by the messages and ends that a stream can bring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.client.kserve.test_exchange import FakeConnection
from tests.client.kserve.test_tensor_messages import MODEL, ROW, answer
from tests.support.asking import LATER_NS, new_record
from trtbench.client.kserve.tensor_exchange import TensorExchange
from trtbench.client.kserve.tensor_messages import AnswerCheck
from trtbench.client.protocol import Limits
from trtbench.client.wire import StreamEnded
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import now_ns

GOOD, WRONG = ([1.0, 2.0], [5.0, 2.0])


def response(values: list[float] | None = None, final: bool = False, error: str = "") -> bytes:
    outputs = [("OUT", "FP32", [1, 2], np.array(values, "<f4").tobytes())] if values else []
    infer = service_pb2.ModelInferResponse.FromString(answer(*outputs))
    if final:
        infer.parameters["triton_final_response"].bool_param = True
    message = service_pb2.ModelStreamInferResponse(error_message=error)
    if not error:
        message.infer_response.CopyFrom(infer)
    encoded: bytes = message.SerializeToString()
    return encoded


def ended(take: Callable[[TensorExchange], None]) -> RequestRecord:
    """The record of a request after `take` has given the exchange what comes."""
    record = new_record(0)
    record.row = ROW.number
    check = AnswerCheck(MODEL, 0.001)
    check.expect(ROW)

    async def run() -> None:
        exchange = TensorExchange(record, Limits(now_ns() + LATER_NS), check)
        exchange.start_on((FakeConnection(), 1), b"")  # type: ignore[arg-type]
        take(exchange)
        await asyncio.wait_for(exchange.over, 5)

    asyncio.run(run())
    return record


def messages(*sent: bytes) -> Callable[[TensorExchange], None]:
    def take(exchange: TensorExchange) -> None:
        for number, message in enumerate(sent):
            exchange.take_message(message, 100 + number, 3, alone=number != 1)

    return take


@pytest.mark.parametrize("responses", [0, 1, 3])
def test_responses_are_counted_with_their_instants(responses: int) -> None:
    record = ended(messages(*[response(GOOD)] * responses, response(final=True)))
    assert record.outcome is Outcome.COMPLETED
    assert record.token_ns == [100 + number for number in range(responses)]
    assert (record.token_counts, record.token_lag_ns) == ([1] * responses, [3] * responses)
    assert record.coalesced == ([1] if responses > 1 else [])
    assert (record.done_ns, record.model_version) == (100 + responses, "4")


def test_the_last_response_may_be_the_final_one() -> None:
    record = ended(messages(response(GOOD), response(GOOD, final=True)))
    assert (record.outcome, len(record.token_ns)) == (Outcome.COMPLETED, 2)


def test_a_wrong_value_in_any_response_is_a_wrong_output() -> None:
    record = ended(messages(response(GOOD), response(WRONG), response(GOOD), response(final=True)))
    assert (record.outcome, len(record.token_ns)) == (Outcome.WRONG_OUTPUT, 3)
    assert "output OUT has 5 at position 0" in record.error


def test_an_error_of_the_server_ends_the_request_with_what_had_arrived() -> None:
    record = ended(messages(response(GOOD), response(error="CUDA out of memory")))
    assert (record.outcome, record.token_ns) == (Outcome.OUT_OF_MEMORY, [100])


def test_a_malformed_response_ends_the_request() -> None:
    record = ended(messages(response(GOOD), b"\xff\xff"))
    assert record.outcome is Outcome.OTHER and "not a ModelStreamInferResponse" in record.error


@pytest.mark.parametrize("responses", [0, 2])
def test_a_stream_that_ends_before_the_final_response(responses: int) -> None:
    def take(exchange: TensorExchange) -> None:
        messages(*[response(GOOD)] * responses)(exchange)
        exchange.stream_ended(StreamEnded(1, "UNAVAILABLE", "Socket closed"))

    record = ended(take)
    assert (record.outcome, len(record.token_ns)) == (Outcome.CONNECTION, responses)


def test_a_lost_connection_and_a_time_limit() -> None:
    assert ended(lambda exchange: exchange.connection_lost("gone")).outcome is Outcome.CONNECTION
    assert ended(lambda exchange: exchange.give_up(Outcome.TIMEOUT, "late")).outcome is Outcome.TIMEOUT
