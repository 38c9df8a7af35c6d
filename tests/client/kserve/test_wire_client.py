"""WireClient at scale and at its edges; what it shares with other clients is in test_client.py."""

from __future__ import annotations

import asyncio
import resource
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.asking import BARE, EVERY_LOOP, LATER_NS, new_record, send, with_client
from tests.support.fakes.fake_http2 import Peer, serving
from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.protocol import Limits
from trtbench.client.transport import kernel_timestamps
from trtbench.client.transport.kernel_timestamps import StampsUnavailable
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.answer import MODEL
from trtbench.self_test.servers import ReplayProcess
from trtbench.self_test.stamp import NUMBERS
from trtbench.system.clock import now_ns

pytestmark = [pytest.mark.timeout(60), EVERY_LOOP]

STREAMS = 500
MOST_BYTES = 10 * 1024  # half of what is allowed with all that came; test_exchange.py has that


@pytest.fixture(scope="module")
def replay() -> Iterator[KserveTarget]:
    with ReplayProcess() as server:
        yield inspect_target(server.url, MODEL)


def on_schedule(first_us: int, gap_us: int, responses: int) -> PlannedPrompt:
    """What the replay server is asked to do."""
    return PlannedPrompt(np.array([first_us, gap_us], np.int32), responses, 0)


def sockets_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@pytest.mark.skipif(sockets_limit() < STREAMS + 200, reason="the limit on open files is too low")
@pytest.mark.parametrize("streams_per_connection", [None, 50])
def test_many_streams_at_once(replay: KserveTarget, fast_loop: bool, streams_per_connection: int | None) -> None:
    records = [new_record(index=index) for index in range(STREAMS)]

    async def body(client: Any) -> None:
        await client.open_streams(STREAMS)
        encoded = client.encode_request(on_schedule(300_000, 40_000, 6))
        await asyncio.gather(*(client.send_request(record, encoded, Limits(now_ns() + LATER_NS)) for record in records))

    facts = with_client(replay, fast_loop, body, ClientSettings(streams_per_connection=streams_per_connection))
    assert {(record.outcome, record.error) for record in records} == {(Outcome.COMPLETED, "")}
    assert all(len(record.token_ns) == 6 and len(record.output_ids) == 6 * NUMBERS for record in records)
    assert facts["connections_opened"] == (STREAMS if streams_per_connection is None else STREAMS / 50)
    assert facts["connections_lost"] == facts["requests_resent"] == 0


@pytest.mark.skipif(sockets_limit() < STREAMS + 200, reason="the limit on open files is too low")
def test_memory_of_a_stream_in_flight(replay: KserveTarget, fast_loop: bool) -> None:
    """Connection, stream, task and record."""
    records = [new_record(index=index) for index in range(STREAMS)]
    held_bytes = 0

    async def body(client: Any) -> None:
        nonlocal held_bytes
        encoded = client.encode_request(on_schedule(1_000_000, 1_000, 60))
        tracemalloc.start()
        try:
            await client.open_streams(STREAMS)
            sending = [asyncio.create_task(client.send_request(record, encoded, Limits(now_ns() + LATER_NS))) for record in records]
            while not all(record.sent_ns for record in records):
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.2)  # all in flight, no token yet
            held_bytes = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        await asyncio.gather(*sending)

    with_client(replay, fast_loop, body)
    assert {record.outcome for record in records} == {Outcome.COMPLETED}
    assert held_bytes / STREAMS < MOST_BYTES


def test_facts_without_the_kernels_stamps(replay: KserveTarget, fast_loop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise StampsUnavailable("this kernel is a fake")

    monkeypatch.setattr(kernel_timestamps.KernelStamps, "open", refuse)
    records: list[RequestRecord] = []

    async def body(client: Any) -> None:
        record = new_record()
        records.append(record)
        await client.send_request(record, client.encode_request(on_schedule(1000, 1000, 3)), Limits(now_ns() + LATER_NS))

    facts = with_client(replay, fast_loop, body)
    assert (facts["stamps"], facts["stamps_why"]) == ("user", "this kernel is a fake") and "stamped_reads" not in facts
    asked_not = with_client(replay, fast_loop, body, ClientSettings(kernel_stamps=False))
    assert (asked_not["stamps"], asked_not["stamps_why"]) == ("user", "client.kernel_stamps is false")
    assert all(record.outcome is Outcome.COMPLETED and record.token_lag_ns == [] for record in records)


def test_facts_name_what_is_at_work(replay: KserveTarget, fast_loop: bool) -> None:
    async def body(client: Any) -> None:
        await client.open_streams(2)
        record = new_record()
        await client.send_request(record, client.encode_request(on_schedule(1000, 1000, 3)), Limits(now_ns() + LATER_NS))
        assert record.outcome is Outcome.COMPLETED

    facts = with_client(replay, fast_loop, body)
    assert (facts["transport"], facts["loop"]) == ("wire", "uvloop" if fast_loop else "asyncio")
    if facts["stamps"] == "kernel":
        assert facts["stamped_reads"] >= 3 and facts["stamp_fallbacks"] == 0 and facts["clock_steps"] == 0


@pytest.mark.process
def test_cancelled_while_it_waits_for_a_connection(fast_loop: bool) -> None:
    """A server that accepts and says nothing."""
    with serving(Peer.wait_gone) as server:
        records = [new_record(), new_record()]

        async def body(client: Any) -> None:
            sending = asyncio.create_task(send(client, records[0]))
            await asyncio.sleep(0.2)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await send(client, records[1], Limits(now_ns() + 200_000_000))

        with_client(replace(BARE, url=server.url), fast_loop, body)
    assert [record.outcome for record in records] == [Outcome.CANCELLED, Outcome.TIMEOUT]
    assert all(record.sent_ns is None and record.done_ns for record in records)
