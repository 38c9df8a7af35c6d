"""How long a stream serves, and what becomes of a request whose stream is ended by somebody else's limit."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.client.transport.test_pool import Seen
from tests.support.asking import BARE, LATER_NS, new_record, with_client
from tests.support.fakes.fake_http2 import FakeHttp2, Peer, serving
from trtbench.client.protocol import Limits
from trtbench.client.transport import stream as stream_module
from trtbench.client.transport.stream import MOST_BYTES, Wear
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.system.clock import now_ns

pytestmark = [pytest.mark.process, pytest.mark.timeout(30)]
INTERNAL_ERROR = 2
LARGE = 60_000  # ids of a prompt: 240 kB


def ask_in_turn(server: FakeHttp2, requests: int, ids: int = 3, **settings: Any) -> tuple[list[RequestRecord], dict[str, Any]]:
    records = [new_record(index=index) for index in range(requests)]

    async def body(client: Any) -> None:
        request = client.encode_request(PlannedPrompt(np.zeros(ids, np.int32), 8, 5))
        for record in records:
            await client.send_request(record, request, Limits(now_ns() + LATER_NS))
            await asyncio.sleep(0)

    return records, with_client(replace(BARE, url=server.url), True, body, ClientSettings(**settings))


@pytest.mark.parametrize(("each", "streams"), [(1, [1] * 5), (2, [2, 2, 1]), (None, [5])])
def test_a_stream_serves_as_many_requests_as_it_may(each: int | None, streams: list[int]) -> None:
    seen = Seen()
    with serving(seen) as server:
        records, facts = ask_in_turn(server, 5, requests_per_stream=each)
    assert all(record.outcome is Outcome.COMPLETED for record in records)
    assert list(Counter(seen.streams).values()) == streams
    assert facts["connections_opened"] == 1 and facts["streams_retired"] == 5 // each if each else facts["streams_retired"] == 0


def test_large_prompts_take_a_new_stream_before_a_proxy_would_end_it() -> None:
    seen = Seen()
    with serving(seen) as server:
        records, facts = ask_in_turn(server, 10, LARGE)
    assert all(record.outcome is Outcome.COMPLETED for record in records) and facts["connections_opened"] == 1
    assert list(Counter(seen.streams).values()) == [4, 4, 2] and 4 * 4 * LARGE < MOST_BYTES


def test_an_old_stream_serves_no_further_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "OLDEST_NS", 0)
    seen = Seen()
    with serving(seen) as server:
        records, _ = ask_in_turn(server, 3)
    assert all(record.outcome is Outcome.COMPLETED for record in records) and len(set(seen.streams)) == 3


def test_a_fresh_stream_takes_a_request_of_any_size() -> None:
    wear = Wear()
    assert wear.allows(50 * MOST_BYTES, 1)
    wear.answered(MOST_BYTES - 10)
    assert wear.allows(10, None) and not wear.allows(11, None) and not wear.allows(1, 1)


def cutting(read_whole: bool) -> Any:
    """Ends the first stream as its second request arrives, and serves the others."""

    def script(peer: Peer) -> None:
        peer.begin()
        first = peer.request()
        peer.answer(first, 2, final=True)
        if read_whole:
            assert peer.request() == first
        else:
            peer.read(acknowledge=False)  # of 240 kB, of which the windows let 64 out
        peer.reset(first, INTERNAL_ERROR)
        peer.acknowledge()
        while True:
            peer.answer(peer.request(), 2, final=True)

    return script


def test_a_request_that_was_cut_off_before_it_was_sent_whole_is_sent_again_and_counted() -> None:
    with serving(cutting(read_whole=False)) as server:
        records, facts = ask_in_turn(server, 4, LARGE)
    assert all(record.outcome is Outcome.COMPLETED and record.error == "" for record in records)
    # The caller of a client counts the last sending.
    assert [record.attempts for record in records] == [0, 1, 0, 0] and facts["requests_resent"] == 1
    assert facts["streams_retired"] == 3, "later streams carry no more than the first did"


def test_a_request_that_the_server_may_have_begun_is_not_sent_again_and_its_error_names_the_stream() -> None:
    with serving(cutting(read_whole=True)) as server:
        records, facts = ask_in_turn(server, 3)
    assert [record.outcome.value for record in records] == ["completed", "connection", "completed"]
    assert records[1].error == "RST_STREAM with INTERNAL_ERROR (of a stream that had served 1 requests before)"
    assert facts["requests_resent"] == 0 and facts["connections_lost"] == 0
