"""What holds of the client on either event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.asking import BARE, EVERY_LOOP, LATER_NS, ask, new_record, on_loop, prompt, send, target_of, with_client
from trtbench.client.kserve.wire_client import WireClient
from trtbench.client.protocol import ConnectError, Limits
from trtbench.rundir.records import Outcome
from trtbench.scenario.workload.workload import Sampling, Workload
from trtbench.system.clock import now_ns, seconds_ns

pytestmark = [pytest.mark.timeout(30), EVERY_LOOP]


def wait_for(fact: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if fact():
            return True
        time.sleep(0.02)
    return False


def within(seconds: float) -> Callable[[], Limits]:
    return lambda: Limits(now_ns() + seconds_ns(seconds))


def test_a_record_holds_all_that_came(fake_server: Any, fast_loop: bool) -> None:
    record = ask(target_of(fake_server.url, "tensorrt_llm"), fast_loop)
    assert (record.outcome, record.error, record.model_version) == (Outcome.COMPLETED, "", "1")
    assert record.output_ids == list(range(100, 108)) and record.token_counts == [1] * 8
    assert record.sent_ns and record.done_ns and record.server
    assert [record.due_ns, record.sent_ns, *record.token_ns, record.done_ns] == sorted(
        [record.due_ns, record.sent_ns, *record.token_ns, record.done_ns]
    )


def test_instants_agree_with_the_servers_own(fake_server: Any, fast_loop: bool) -> None:
    """One machine, one clock: the server's stamp lies between the sending and the arrival."""
    target = target_of(fake_server.url, "tensorrt_llm")
    records = [ask(target, fast_loop) for _ in range(5)]
    for record in records:
        assert record.sent_ns and record.server
        assert record.sent_ns < record.server.first_token_ns < record.token_ns[0]


def test_a_batchless_older_server(fake_server: Any, fast_loop: bool) -> None:
    record = new_record()

    async def body(client: Any) -> None:
        await client.open_streams(1)
        await send(client, record)

    workload = Workload(sampling=Sampling(temperature=1.0))
    with_client(target_of(fake_server.url, "old"), fast_loop, body, workload=workload)
    assert record.outcome is Outcome.COMPLETED and record.output_tokens == 8


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
def test_every_fault_becomes_an_outcome(fake_server: Any, fast_loop: bool, model: str, outcome: Outcome, error: str, tokens: int) -> None:
    record = ask(target_of(fake_server.url, model), fast_loop)
    assert record.outcome is outcome and error in record.error
    assert record.output_tokens == tokens and record.done_ns is not None


def test_a_stuck_stream_times_out_and_is_cancelled_on_the_server(start_fake_server: Any, fast_loop: bool) -> None:
    server = start_fake_server(1, 1)
    record = ask(target_of(server.url, "stuck"), fast_loop, within(0.5))
    assert (record.outcome, record.error, record.output_tokens) == (Outcome.TIMEOUT, "its time limit has passed", 1)
    assert record.done_ns and record.done_ns - record.due_ns > 0.4e9
    assert wait_for(lambda: server.counts()[1:] == (1, 0))


def test_a_request_that_is_too_late_already_times_out(fake_server: Any, fast_loop: bool) -> None:
    record = ask(target_of(fake_server.url, "tensorrt_llm"), fast_loop, within(-1))
    assert record.outcome is Outcome.TIMEOUT and record.sent_ns is None


def test_a_user_goes_away_after_some_tokens_as_planned(start_fake_server: Any, fast_loop: bool) -> None:
    server = start_fake_server(1, 5)
    record = ask(target_of(server.url, "tensorrt_llm"), fast_loop, lambda: Limits(now_ns() + LATER_NS, cancel_after_tokens=3))
    assert (record.outcome, record.error) == (Outcome.CANCELLED, "planned: after 3 tokens")
    assert record.output_ids == [100, 101, 102] and record.done_ns and record.done_ns >= record.token_ns[-1]
    assert wait_for(lambda: server.counts() == (0, 1, 0))


def test_a_user_goes_away_after_some_time_as_planned(start_fake_server: Any, fast_loop: bool) -> None:
    server = start_fake_server(1, 1)
    limits = lambda: Limits(now_ns() + LATER_NS, cancel_after_ns=seconds_ns(0.25))  # noqa: E731
    record = ask(target_of(server.url, "stuck"), fast_loop, limits)
    assert (record.outcome, record.error, record.output_ids) == (Outcome.CANCELLED, "planned: after 0.25 s", [100])
    assert record.done_ns and record.sent_ns and record.done_ns - record.sent_ns >= 0.24e9
    assert wait_for(lambda: server.counts() == (0, 1, 0))


def test_a_plan_that_ends_later_than_the_request_changes_nothing(fake_server: Any, fast_loop: bool) -> None:
    limits = lambda: Limits(now_ns() + LATER_NS, cancel_after_tokens=9, cancel_after_ns=LATER_NS)  # noqa: E731
    assert ask(target_of(fake_server.url, "tensorrt_llm"), fast_loop, limits).outcome is Outcome.COMPLETED


def test_cancelling_frees_the_server_and_keeps_what_had_come(start_fake_server: Any, fast_loop: bool) -> None:
    server = start_fake_server(1, 1)
    record = new_record()

    async def body(client: Any) -> None:
        sending = asyncio.create_task(send(client, record))
        await asyncio.sleep(0.5)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    with_client(target_of(server.url, "stuck"), fast_loop, body)
    assert record.outcome is Outcome.CANCELLED and record.output_ids == [100] and record.done_ns
    assert wait_for(lambda: server.counts()[1:] == (1, 0))


def test_a_killed_server_is_a_broken_connection(start_fake_server: Any, fast_loop: bool) -> None:
    server = start_fake_server(1, 1)
    records = [new_record(index=index) for index in range(6)]

    async def body(client: Any) -> None:
        sending = [asyncio.create_task(send(client, record)) for record in records[:5]]
        await asyncio.sleep(0.5)
        server.kill()
        await asyncio.gather(*sending)
        await send(client, records[5])

    with_client(target_of(server.url, "stuck"), fast_loop, body)
    assert {record.outcome for record in records} == {Outcome.CONNECTION}
    assert [record.output_tokens for record in records] == [1] * 5 + [0]
    assert all(record.error and record.done_ns for record in records)


@pytest.mark.process
def test_nobody_there(fast_loop: bool) -> None:
    async def main() -> None:
        client = WireClient(BARE, Workload())
        try:
            with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1"):
                await client.open_streams(1)
        finally:
            await client.close()

    on_loop(main(), fast_loop)


def test_a_session_reads_its_context_first(fake_server: Any, fast_loop: bool) -> None:
    async def body(client: Any) -> None:
        with_context = client.encode_request(prompt(), context=[7, 8])
        assert b"\x07\0\0\0\x08\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0" in with_context
        assert b"\x08\0\0\0\x01\0\0\0" not in client.encode_request(prompt())

    with_client(BARE, fast_loop, body)


@pytest.mark.alone
def test_no_request_fails_where_the_server_ends_connections_by_their_age(fast_loop: bool, start_fake_server: Any) -> None:
    server = start_fake_server(5, 1, "--connection-age-ms", "200")
    records = [new_record(index=index) for index in range(160)]

    async def body(client: Any) -> None:
        await client.open_streams(4)

        async def user(number: int) -> None:
            for record in records[number::4]:
                await send(client, record)

        await asyncio.gather(*map(user, range(4)))

    with_client(target_of(server.url, "tensorrt_llm"), fast_loop, body)
    assert {(record.outcome, record.error) for record in records} == {(Outcome.COMPLETED, "")}
