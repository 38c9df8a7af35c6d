"""Requests are dealt in turn, by their place in the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.asking import BARE
from trtbench.client.kserve.wire_client import WireClient, open_client
from trtbench.client.protocol import Limits
from trtbench.client.round_robin import RoundRobinClient
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload


class Listed:
    """Writes down what it is asked."""

    def __init__(self, connections: int, drift_ns: int) -> None:
        self.got: list[int] = []
        self.streams = 0
        self._facts = {"transport": "wire", "connections": connections, "clock_offset_drift_ns": drift_ns}

    def encode_request(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        return b"body"

    async def open_streams(self, streams: int) -> None:
        self.streams = streams

    async def send_request(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        self.got.append(record.index)

    def transport_facts(self) -> dict[str, Any]:
        return self._facts

    async def close(self) -> None:
        self.streams = 0


def record(index: int) -> RequestRecord:
    return RequestRecord(index, "c1", False, 0, 1, 1, 0)


@given(servers=st.integers(2, 8), requests=st.integers(0, 100), workers=st.integers(1, 4))
def test_shares_differ_by_one_at_most_whatever_the_workers(servers: int, requests: int, workers: int) -> None:
    """Each worker has a client of its own and every workers-th request."""
    got = [0] * servers
    for worker in range(workers):
        each = [Listed(1, 0) for _ in range(servers)]
        dealing = RoundRobinClient(each)
        for index in range(worker, requests, workers):
            asyncio.run(dealing.send_request(record(index), b"", Limits(0)))
        for server, client in enumerate(each):
            got[server] += len(client.got)
            assert all(index % servers == server for index in client.got)
    assert max(got) - min(got) <= 1


def test_streams_are_shared_out_and_facts_added_up() -> None:
    each = [Listed(2, 900), Listed(3, 100)]
    dealing = RoundRobinClient(each)
    asyncio.run(dealing.open_streams(5))
    assert [client.streams for client in each] == [3, 3]
    assert dealing.transport_facts() == {"transport": "wire", "connections": 5, "clock_offset_drift_ns": 900}
    assert dealing.encode_request(PlannedPrompt((1,), 1, 0)) == b"body"
    asyncio.run(dealing.close())
    assert [client.streams for client in each] == [0, 0]


def test_one_server_is_spoken_to_directly() -> None:
    async def opened() -> None:
        client = open_client(BARE, Workload(), ClientSettings(kernel_stamps=False), -1)
        assert isinstance(client, WireClient)
        await client.close()

    asyncio.run(opened())
