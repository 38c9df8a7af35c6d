"""When an answer over HTTP is in its middle, in which its connection may be read after a pause."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.client.kserve.test_exchange import FakeConnection
from tests.support.asking import LATER_NS, new_record
from tests.support.fakes.http_answers import VLLM_DATA
from trtbench.client.openai.endpoints import ENDPOINTS
from trtbench.client.openai.exchange import HttpExchange
from trtbench.client.openai.request_shape import CountSource
from trtbench.client.protocol import Limits
from trtbench.client.wire import StreamEnded
from trtbench.rundir.records import RequestRecord
from trtbench.system.clock import now_ns

TOKEN, LAST, USAGE, DONE = VLLM_DATA


def middles(events: list[bytes], counts: CountSource, asked: int = 8, cancel_after_tokens: int | None = None) -> list[bool]:
    """Whether the answer is in its middle after the sending, after each event, and after its end."""
    record: RequestRecord = new_record(asked)
    limits = Limits(now_ns() + LATER_NS, cancel_after_tokens)
    exchange = HttpExchange(record, limits, ENDPOINTS["openai-completions"], counts, 10, streams=True)
    found: list[bool] = []

    async def main() -> None:
        connection: Any = FakeConnection()
        exchange.start_on((connection, 1), b"")
        found.append(exchange.is_mid_answer)
        for number, event in enumerate(events):
            exchange.take_message(event, 100 + number, 1, True)
            found.append(exchange.is_mid_answer)
        assert list(exchange.arrivals_ns) == [100 + number for number, event in enumerate(events) if event in (TOKEN, LAST)]
        exchange.stream_ended(StreamEnded(1, "OK", ""))
        found.append(exchange.is_mid_answer)

    asyncio.run(main())
    return found


@pytest.mark.parametrize("counts", ["token_ids", "last_usage"])
def test_from_the_first_token_to_the_last_but_one(counts: CountSource) -> None:
    assert middles([TOKEN, TOKEN, TOKEN, LAST, USAGE, DONE], counts, asked=4) == [False, True, True, False, False, False, False, False]


def test_an_event_without_tokens_begins_no_middle() -> None:
    assert middles([TOKEN.replace(b'"token_ids":[5]', b'"token_ids":[]')], "token_ids") == [False, False, False]


def test_a_planned_end_is_an_end() -> None:
    assert middles([TOKEN, TOKEN], "token_ids", cancel_after_tokens=3)[:3] == [False, True, False]
