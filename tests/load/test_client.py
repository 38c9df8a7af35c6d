from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trtbench.clock import now_ns
from trtbench.load.client import GrpcClient
from trtbench.load.plan import PlannedPrompt
from trtbench.load.target import Target, inspect_target
from trtbench.records import Outcome, RequestRecord
from trtbench.scenario import Sampling, Workload

pytestmark = pytest.mark.timeout(30)


def new_record(asked: int = 8, index: int = 0) -> RequestRecord:
    return RequestRecord(index=index, stage="c1", warmup=False, prompt=0, input_tokens=3, asked_output_tokens=asked, due_ns=now_ns())


def with_client(url: str, model: str, body: Callable[[GrpcClient, bytes], Awaitable[None]], asked: int = 8) -> None:
    async def main() -> None:
        client = GrpcClient(target, Workload())
        try:
            await body(client, client.encode(PlannedPrompt(np.array([1, 2, 3], np.int32), asked, 5)))
        finally:
            await client.close()

    target = _target(url, model)
    asyncio.run(main())


def _target(url: str, model: str) -> Target:
    tensors = inspect_target(url, "tensorrt_llm")
    return replace(tensors, url=url, model=model)


def ask(url: str, model: str, timeout_s: float = 10, asked: int = 8) -> RequestRecord:
    record = new_record(asked)

    async def body(client: GrpcClient, encoded: bytes) -> None:
        await client.send(record, encoded, record.due_ns + round(timeout_s * 1e9))

    with_client(url, model, body, asked)
    return record


def wait_for(fact: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if fact():
            return True
        time.sleep(0.02)
    return False


def test_a_record_holds_all_that_came(fake_server: Any) -> None:
    record = ask(fake_server.url, "tensorrt_llm")
    assert (record.outcome, record.error, record.model_version) == (Outcome.COMPLETED, "", "1")
    assert record.output_ids == list(range(100, 108)) and record.token_counts == [1] * 8
    assert record.sent_ns and record.done_ns and record.server
    assert [record.due_ns, record.sent_ns, *record.token_ns, record.done_ns] == sorted(
        [record.due_ns, record.sent_ns, *record.token_ns, record.done_ns]
    )


def test_instants_agree_with_the_servers_own(fake_server: Any) -> None:
    """One machine, one clock: a stamp is after the server's, and not by much."""
    records = [ask(fake_server.url, "tensorrt_llm") for _ in range(5)]
    lateness_ns = [record.token_ns[0] - record.server.first_token_ns for record in records if record.server]
    assert len(lateness_ns) == 5 and min(lateness_ns) > 0
    assert min(lateness_ns) < 10e6


def test_a_batchless_older_server(fake_server: Any) -> None:
    record = new_record()

    async def main() -> None:
        client = GrpcClient(inspect_target(fake_server.url, "old"), Workload(sampling=Sampling(temperature=1.0)))
        await client.connect()
        await client.send(record, client.encode(PlannedPrompt(np.array([1], np.int32), 8, 5)), now_ns() + 10**10)
        await client.close()

    asyncio.run(main())
    assert record.outcome is Outcome.COMPLETED and record.server is None and record.output_tokens == 8


@pytest.mark.parametrize(
    ("model", "outcome", "error", "tokens"),
    [
        ("full", Outcome.REJECTED, "Exceeds maximum queue size", 0),
        ("abort", Outcome.UNAVAILABLE, "unknown model", 0),
        ("abort_cancelled", Outcome.CANCELLED, "gone", 0),
        ("early_close", Outcome.OTHER, "stream closed without a final response", 2),
        ("garbage", Outcome.OTHER, "not a ModelStreamInferResponse", 0),
        ("short", Outcome.COMPLETED, "", 4),  # fewer than asked, and visible
    ],
)
def test_every_fault_becomes_an_outcome(fake_server: Any, model: str, outcome: Outcome, error: str, tokens: int) -> None:
    record = ask(fake_server.url, model)
    assert record.outcome is outcome and error in record.error
    assert record.output_tokens == tokens and record.done_ns is not None


def test_a_stuck_stream_times_out_and_is_cancelled_on_the_server(start_fake_server: Any) -> None:
    server = start_fake_server(1, 1)
    record = ask(server.url, "stuck", timeout_s=0.5)
    assert record.outcome is Outcome.TIMEOUT and record.output_tokens == 1
    assert record.done_ns and 0.4e9 < record.done_ns - record.due_ns < 5e9
    assert wait_for(lambda: server.counts()[1:] == (1, 0))


def test_a_request_that_is_too_late_already_times_out(fake_server: Any) -> None:
    assert ask(fake_server.url, "tensorrt_llm", timeout_s=-1).outcome is Outcome.TIMEOUT


def test_cancelling_frees_the_server_and_keeps_what_had_come(start_fake_server: Any) -> None:
    server = start_fake_server(1, 1)
    record = new_record()

    async def body(client: GrpcClient, encoded: bytes) -> None:
        sending = asyncio.create_task(client.send(record, encoded, record.due_ns + 10**11))
        while not record.token_ns:
            await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    with_client(server.url, "stuck", body)
    assert record.outcome is Outcome.CANCELLED and record.output_ids == [100] and record.done_ns
    assert wait_for(lambda: server.counts()[1:] == (1, 0))


def test_a_killed_server_is_a_broken_connection(start_fake_server: Any) -> None:
    server = start_fake_server(1, 1)
    records = [new_record(index=index) for index in range(6)]

    async def body(client: GrpcClient, encoded: bytes) -> None:
        sending = [asyncio.create_task(client.send(record, encoded, record.due_ns + 10**11)) for record in records[:5]]
        while not all(record.token_ns for record in records[:5]):
            await asyncio.sleep(0.01)
        server.kill()
        await asyncio.gather(*sending)
        await client.send(records[5], encoded, now_ns() + 10**11)

    with_client(server.url, "stuck", body)
    assert {record.outcome for record in records} == {Outcome.CONNECTION}
    assert all(record.error and record.done_ns for record in records)


def test_connecting_to_nobody_ends() -> None:
    async def main() -> None:
        client = GrpcClient(Target("127.0.0.1:1", "m", "", 8, "2.51.0", frozenset(), frozenset()), Workload())
        try:
            with pytest.raises(asyncio.TimeoutError):
                await client.connect(0.3)
        finally:
            await client.close()

    asyncio.run(main())
