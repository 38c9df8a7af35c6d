"""Events that are kept and decoded later leave the same record as events that are decoded when they are read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.kserve.test_exchange import FakeConnection
from tests.support.asking import LATER_NS, new_record
from tests.support.fakes.http_answers import VLLM_DATA, chunk, event
from trtbench.client.openai.endpoints import ENDPOINTS
from trtbench.client.openai.exchange import HttpExchange
from trtbench.client.protocol import Limits
from trtbench.client.wire import StreamEnded
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import now_ns

TOKEN, LAST, USAGE, DONE = VLLM_DATA
ROLE = TOKEN.replace(b'"text":" a"', b'"text":""').replace(b'"token_ids":[5]', b'"token_ids":[]')
TWO = TOKEN.replace(b"[5]", b"[5,6]")
BROKEN, ERROR = b'{"id":"cmpl-1","choices":[', b'{"error":{"message":"out of memory","code":500}}'
LATE_ERROR = b'{"id":"cmpl-1","error":"out of memory"}'
ENDS = ("ended", "lost", "given up")


def record_of(events: list[bytes], end: str, keeps: bool, asked: int) -> tuple[RequestRecord, list[str], int]:
    """The record, what was done to the stream, and how many events were kept when they were read."""
    record, connection, kept = replace(new_record(asked), due_ns=0), FakeConnection(), 0
    exchange = HttpExchange(record, Limits(now_ns() + LATER_NS), ENDPOINTS["openai-completions"], "token_ids", 10, streams=True)

    async def main() -> None:
        nonlocal kept
        exchange.start_on((connection, 1), b"")  # type: ignore[arg-type]
        reads: Any = None
        for number, data in enumerate(events):
            read = bytearray(chunk(event(data)))
            if reads and reads.take_read(read, len(read), 100 + number, 7):
                kept += 1
                continue
            exchange.take_message(data, 100 + number, 7, True)
            reads = exchange.next_token_read() if keeps else None
        if end == "ended":
            exchange.stream_ended(StreamEnded(1, "OK", ""))
        elif end == "lost":
            exchange.connection_lost("connection closed by the server")
        else:
            exchange.give_up(Outcome.TIMEOUT, "its time limit has passed")
        await exchange.over

    asyncio.run(main())
    done_ns = record.done_ns or 0
    return replace(record, sent_ns=0, done_ns=done_ns if done_ns < 1000 else None), connection.calls, kept  # None: ended by a clock


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("events", "kept"),
    [
        ([TOKEN] * 40 + [LAST, USAGE, DONE], 36),
        ([ROLE, TOKEN, TWO, TOKEN, USAGE, DONE], 3),
        ([TOKEN, TOKEN, BROKEN, TOKEN], 3),
        ([TOKEN, TOKEN, LATE_ERROR, TOKEN], 3),
        ([TOKEN, TOKEN, ERROR], 1),
        ([TOKEN], 0),
    ],
)
def test_the_same_record(events: list[bytes], kept: int, end: str) -> None:
    asked = 41 if len(events) > 40 else 100
    record, calls, found = record_of(events, end, True, asked)
    assert (record, calls) == record_of(events, end, False, asked)[:2]
    assert found == kept


EVENTS = st.sampled_from([TOKEN, TOKEN, TOKEN, TWO, ROLE, LAST, USAGE, DONE, BROKEN, ERROR, LATE_ERROR])


@given(st.lists(EVENTS, max_size=50), st.sampled_from(ENDS), st.integers(1, 60))
def test_any_events_leave_the_same_record(events: list[bytes], end: str, asked: int) -> None:
    assert record_of(events, end, True, asked)[:2] == record_of(events, end, False, asked)[:2]
