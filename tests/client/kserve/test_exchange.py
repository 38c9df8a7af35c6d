"""One request in flight, message by message."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import pytest

from tests.support.asking import LATER_NS, new_record
from tests.support.fakes.fake_http2 import final_message, token_message
from trtbench.client.kserve.exchange import Exchange
from trtbench.client.protocol import Limits
from trtbench.client.wire import StreamEnded
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import now_ns

pytestmark = pytest.mark.timeout(30)


class FakeConnection:
    """Keeps what an exchange does to its stream."""

    def __init__(self, streams: int = 1) -> None:
        self.calls: list[str] = []
        self.streams = streams

    def send_on_stream(self, stream_id: int, message: bytes, receiver: Any, end_stream: bool) -> int:
        return now_ns()

    def release(self, stream_id: int) -> None:
        self.calls.append("release")

    def reset(self, stream_id: int) -> None:
        self.calls.append("reset")


def exchange_with(steps: Any, limits: Limits | None = None) -> tuple[RequestRecord, FakeConnection, Exchange]:
    record, connection = new_record(), FakeConnection()
    exchange = Exchange(record, limits or Limits(now_ns() + LATER_NS), b"")

    async def main() -> None:
        exchange.start_on((connection, 1), b"")  # type: ignore[arg-type]
        steps(exchange)
        if record.done_ns:
            await exchange.over
        else:
            exchange.give_up(Outcome.CANCELLED, "the test is over")

    asyncio.run(main())
    return record, connection, exchange


def take(exchange: Exchange, *tokens: int, at_ns: int = 1, lag_ns: int | None = 5, alone: bool = True) -> None:
    for token in tokens:
        exchange.take_message(token_message(token), at_ns, lag_ns, alone)


def test_what_came_is_what_the_record_says() -> None:
    def steps(exchange: Exchange) -> None:
        take(exchange, 7, at_ns=100)
        take(exchange, 8, at_ns=200, lag_ns=6, alone=False)
        take(exchange, 9, at_ns=300)
        exchange.take_message(final_message(), 400, 1, True)

    record, connection, _ = exchange_with(steps)
    assert (record.token_ns, record.token_lag_ns, record.coalesced) == ([100, 200, 300], [5, 6, 5], [1])
    assert (record.output_ids, record.token_counts, record.done_ns) == ([7, 8, 9], [1, 1, 1], 400)
    assert record.outcome is Outcome.COMPLETED and connection.calls == ["release"]


def test_an_answer_without_output_is_a_failure_of_its_own_and_its_stream_serves_on() -> None:
    record, connection, _ = exchange_with(lambda exchange: exchange.take_message(final_message(), 400, 1, True))
    assert record.outcome is Outcome.EMPTY and record.outcome.is_failure and "no output" in record.error
    assert (record.done_ns, record.token_ns, connection.calls) == (400, [], ["release"])


def test_counts_that_change() -> None:
    counts = [3, 3, 1, 1, 1, 4, 2, 3]

    def steps(exchange: Exchange) -> None:
        for count in counts:
            exchange.take_message(token_message(*range(count)), 1, None, True)

    record = exchange_with(steps)[0]
    assert record.token_counts == counts and record.output_ids == [token for count in counts for token in range(count)]


def test_a_lag_that_no_array_holds_is_given_as_the_longest() -> None:
    record, _, _ = exchange_with(lambda exchange: take(exchange, 1, lag_ns=10**11))
    assert record.token_lag_ns == [2**31 - 1]


def test_a_planned_end_at_a_response_that_is_final_is_a_completed_one() -> None:
    def steps(exchange: Exchange) -> None:
        take(exchange, 1)
        exchange.take_message(final_message(), 2, 5, True)

    record, connection, _ = exchange_with(steps, Limits(now_ns() + LATER_NS, cancel_after_tokens=2))
    assert record.outcome is Outcome.COMPLETED and connection.calls == ["release"]


def test_what_comes_after_the_end_changes_nothing() -> None:
    def steps(exchange: Exchange) -> None:
        take(exchange, 1)
        exchange.give_up(Outcome.CANCELLED, "first")
        exchange.give_up(Outcome.TIMEOUT, "second")

    record, connection, _ = exchange_with(steps)
    assert (record.outcome, record.error, record.output_ids, connection.calls) == (Outcome.CANCELLED, "first", [1], ["reset"])


@pytest.mark.parametrize(("tokens", "retry_safe", "refused"), [(0, True, True), (1, True, False), (0, False, False)])
def test_only_what_the_server_never_saw_is_refused(tokens: int, retry_safe: bool, refused: bool) -> None:
    def steps(exchange: Exchange) -> None:
        take(exchange, *range(tokens))
        exchange.stream_ended(StreamEnded(1, "UNAVAILABLE", "RST_STREAM with REFUSED_STREAM", retry_safe))

    record, _, exchange = exchange_with(steps)
    assert exchange.refused is refused and record.outcome is Outcome.CONNECTION


def test_memory_of_what_came() -> None:
    """16 bytes a token; arrays grow ahead by an eighth at most."""
    tokens, messages = 20_000, [token_message(token) for token in range(100)]
    held: list[int] = []

    def steps(exchange: Exchange) -> None:
        tracemalloc.start()
        for number in range(tokens):
            exchange.take_message(messages[number % 100], 1 << 60, 1 << 30, True)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()

    record, _, _ = exchange_with(steps)
    assert record.output_tokens == tokens
    assert held[0] < 2_000 + 16 * tokens * 9 / 8


@pytest.mark.parametrize(("streams", "with_end"), [(1, True), (2, False)])
def test_a_last_token_that_is_read_with_the_empty_final_response(streams: int, with_end: bool) -> None:
    """On a connection with further streams the read may have had a response of another one."""

    def steps(exchange: Exchange) -> None:
        exchange._connection.streams = streams  # type: ignore[misc]
        take(exchange, 1, at_ns=1)
        take(exchange, 2, at_ns=2, alone=False)
        exchange.take_message(final_message(), 2, 5, False)

    record, _, _ = exchange_with(steps)
    assert (record.read_with_end, record.coalesced) == (with_end, [] if with_end else [1])
