"""Real connections that are read after pauses: each timestamp stays that of its arrival, and no token is lost however an answer ends."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.asking import BARE, EVERY_LOOP, LATER_NS, ask_all, new_record, with_client
from tests.support.fakes.fake_http2 import Peer, final_message, serving, token_message
from tests.support.fakes.fake_openai import Manners, serving_openai
from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.openai.endpoint_inspection import inspect_endpoint
from trtbench.client.openai.http_client import open_http_client
from trtbench.client.openai.target import OpenaiTarget
from trtbench.client.protocol import NO_END_ID, Limits, RequestOptions
from trtbench.client.transport import read_pacer
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.self_test.answer import MODEL
from trtbench.self_test.servers import ReplayProcess
from trtbench.self_test.stamp import NUMBERS, Stamps
from trtbench.system.clock import now_ns

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

MS = 1_000_000
PAUSE_MS, GAP_MS = 8, 40
PACED = ClientSettings(read_pause_ms=PAUSE_MS)
NUMBER = itertools.count()


@pytest.fixture(scope="module")
def replay() -> Iterator[KserveTarget]:
    with ReplayProcess() as server:
        yield inspect_target(server.url, MODEL)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pacing begins at the first token."""
    monkeypatch.setattr(read_pacer, "_FEWEST", 1)
    monkeypatch.setattr(read_pacer, "_REVIEW_S", 0.005)


async def ask(
    client: Any, responses: int, gap_us: int = GAP_MS * 1000, first_us: int = 5000, limits: Limits | None = None
) -> RequestRecord:
    """A request for so many responses; its prompt contains their schedule, in microseconds."""
    record = new_record(responses, index=next(NUMBER))
    body = client.encode_request(PlannedPrompt(np.array([first_us, gap_us], np.int32), responses, 0))
    await client.send_request(record, body, limits or Limits(now_ns() + LATER_NS))
    return record


def received(record: RequestRecord) -> int:
    """How many responses a record holds, all of which have the next number, an arrival after their sending, and a lag."""
    sent_ns = Stamps.of(record.output_ids).sent_ns  # StampError if one is missing, twice or out of order
    assert len(sent_ns) == len(record.token_ns) == len(record.token_lag_ns) == len(record.output_ids) // NUMBERS
    assert record.token_ns == sorted(record.token_ns)
    alone = np.setdiff1d(np.arange(len(sent_ns)), [*record.coalesced, *(index + 1 for index in record.coalesced)])
    assert (np.array(record.token_ns)[alone] >= sent_ns[alone]).all()
    return len(sent_ns)


@EVERY_LOOP
def test_timestamps_are_those_of_the_arrivals(replay: KserveTarget, fast_loop: bool) -> None:
    """Tokens in the middle are read after about half a pause; their timestamps are as near to their sending as those of the first."""
    records: list[RequestRecord] = []

    async def body(client: Any) -> None:
        await client.open_streams(12)
        records.extend(await asyncio.gather(*(ask(client, 20, first_us=1000 + 3000 * number) for number in range(12))))

    facts = with_client(replay, fast_loop, body, PACED)
    if facts["stamps"] != "kernel":
        pytest.skip(facts["stamps_why"])
    assert [received(record) for record in records] == [20] * 12
    assert facts["paced_reads"] > 12 * 14 and facts["paced_ends"] == 0 and facts["read_pause_longest_ns"] == PAUSE_MS * MS
    middle_lags = [lag for record in records for lag in record.token_lag_ns[2:-2]]
    errors = [int(error) for record in records for error in (record.token_ns - Stamps.of(record.output_ids).sent_ns)[2:-2]]
    assert median(errors) < median(middle_lags) / 3


@EVERY_LOOP
def test_first_and_last_tokens_are_not_paced(replay: KserveTarget, fast_loop: bool) -> None:
    async def body(client: Any) -> None:
        for responses in (1, 2, 1):
            assert received(await ask(client, responses)) == responses

    facts = with_client(replay, fast_loop, body, PACED)
    assert facts.get("paced_reads", 0) == 0


NOT_PACED = {"0": ClientSettings(read_pause_ms=0), "user": ClientSettings(kernel_stamps=False, read_pause_ms=5)}


@pytest.mark.parametrize("asked", NOT_PACED.values(), ids=NOT_PACED)
def test_there_is_no_pacing_where_it_is_not_asked_or_not_exact(replay: KserveTarget, asked: ClientSettings) -> None:
    async def body(client: Any) -> None:
        await asyncio.gather(*(ask(client, 6, 10_000) for _ in range(4)))

    assert "paced_reads" not in with_client(replay, True, body, asked)


def in_the_middle(number: int) -> Callable[[], Limits]:
    ends = (
        lambda: Limits(now_ns() + LATER_NS, cancel_after_tokens=5 * NUMBERS),
        lambda: Limits(now_ns() + 90 * MS),
        lambda: Limits(now_ns() + LATER_NS, cancel_after_ns=70 * MS),
    )
    return ends[number % len(ends)]


@EVERY_LOOP
def test_answers_that_the_client_ends_keep_what_had_arrived_and_their_successors_get_none_of_it(
    replay: KserveTarget, fast_loop: bool
) -> None:
    """By a planned number of tokens, by their time limit, by a planned instant; then each user sends again."""
    records: list[RequestRecord] = []

    async def user(client: Any, number: int) -> None:
        for _ in range(3):
            records.append(await ask(client, 40, 6_000, limits=in_the_middle(number)()))
            records.append(await ask(client, 5, 6_000))

    async def body(client: Any) -> None:
        await asyncio.gather(*(user(client, number) for number in range(9)))

    facts = with_client(replay, fast_loop, body, PACED)
    ended = [record for record in records if record.asked_output_tokens == 40]
    assert {record.outcome for record in ended} == {Outcome.CANCELLED, Outcome.TIMEOUT}
    assert all(0 < received(record) < 40 for record in ended)
    assert all(record.outcome is Outcome.COMPLETED and received(record) == 5 for record in records if record not in ended)
    assert facts["paced_reads"] and facts["requests_resent"] == 0


@EVERY_LOOP
def test_a_server_that_dies_leaves_what_had_arrived(fast_loop: bool) -> None:
    records: list[RequestRecord] = []

    async def body(client: Any) -> None:
        await client.open_streams(8)
        asked = [asyncio.create_task(ask(client, 1000, 10_000)) for _ in range(8)]
        await asyncio.sleep(0.3)
        server.__exit__(None, None, None)
        records.extend(await asyncio.gather(*asked))

    server = ReplayProcess().__enter__()
    facts = with_client(inspect_target(server.url, MODEL), fast_loop, body, PACED)
    assert {record.outcome for record in records} == {Outcome.CONNECTION}
    assert all(received(record) > 5 for record in records) and facts["paced_reads"] and facts["connections_lost"] == 8


@EVERY_LOOP
def test_a_client_that_is_closed_ends_what_it_reads(replay: KserveTarget, fast_loop: bool) -> None:
    """As a worker ends while answers are in their middle: every request has its record, and nothing waits any more."""
    records: list[RequestRecord] = []

    async def body(client: Any) -> None:
        asked = [asyncio.create_task(ask(client, 1000, 10_000)) for _ in range(8)]
        await asyncio.sleep(0.2)
        await client.close()
        records.extend(await asyncio.gather(*asked))

    with_client(replay, fast_loop, body, PACED)
    assert {record.outcome for record in records} == {Outcome.CONNECTION} and all(received(record) > 3 for record in records)


@EVERY_LOOP
def test_control_frames_between_tokens_are_no_crowded_reads(fast_loop: bool) -> None:
    """gRPC servers send a PING to estimate the bandwidth, alone in its packet; a read of it holds no message, and spoils no timestamp."""

    def script(peer: Peer) -> None:
        peer.begin()
        stream = peer.request()
        peer.headers(stream)
        for token in range(6):
            peer.message(stream, token_message(token))
            time.sleep(0.03)
            peer.raw(b"\0\0\x08\x06\0\0\0\0\0" + b"12345678")
            time.sleep(0.03)
        peer.message(stream, final_message())
        peer.wait_gone()

    with serving(script) as server:
        [record], facts = ask_all(replace(BARE, url=server.url), 1, PACED, fast_loop)
    assert record.output_ids == list(range(6)) and record.coalesced == []
    assert facts["paced_reads"] >= 10 and facts["paced_reads_crowded"] == 0


def test_events_of_an_http_server_are_paced_too() -> None:
    """Each has a connection of its own; the first event, the last one and the end of the stream are read at once."""
    prompt, records = PlannedPrompt(np.array([5, 6, 7], np.int32), 20, 0, text="Hello"), [new_record(20, index) for index in range(8)]

    async def body(target: OpenaiTarget) -> dict[str, Any]:
        client = open_http_client(target, Workload(), PACED, NO_END_ID)
        await client.open_streams(len(records))
        encoded = client.encode_request(prompt)
        await asyncio.gather(*(client.send_request(record, encoded, Limits(now_ns() + LATER_NS)) for record in records))
        await client.close()
        return client.transport_facts()

    with serving_openai(Manners(token_s=0.03)) as server:
        target = inspect_endpoint(server.url, "m", settings=PACED, options=RequestOptions(endpoint="openai-completions", streaming=True))
        facts = asyncio.run(body(target))
    assert all((record.outcome, record.output_ids) == (Outcome.COMPLETED, list(range(20))) for record in records)
    assert facts["paced_reads"] > 8 * 10 and facts["paced_ends"] == 0
    assert all(len(record.token_ns) == len(record.token_lag_ns) == 20 for record in records)


REQUESTS = st.tuples(
    st.integers(1, 40),  # responses
    st.sampled_from([0, 500, 3000, 9000]),  # us between them: also shorter than the pause
    st.integers(1, 12_000),  # us before the first; of 0, 0 the first stamp could begin as the prompt does, and is taken for an echo of it
    st.sampled_from(["", "tokens", "time", "deadline"]),
    st.integers(1, 60),
)


@given(st.lists(st.lists(REQUESTS, min_size=1, max_size=5), min_size=2, max_size=10), st.sampled_from([0.5, 4, 15]))
@settings(max_examples=12, deadline=None)
def test_no_token_is_lost_or_given_to_another_whenever_answers_begin_and_end(
    replay: KserveTarget, users: list[list[tuple[int, int, int, str, int]]], pause_ms: float
) -> None:
    """Each user's requests go one after the other on streams that are used again; pauses are longer than some gaps."""
    records: list[tuple[str, RequestRecord]] = []

    async def user(client: Any, requests: list[tuple[int, int, int, str, int]]) -> None:
        for responses, gap_us, first_us, how, amount in requests:
            deadline_ns = now_ns() + (amount * MS if how == "deadline" else LATER_NS)
            tokens, span_ns = amount * NUMBERS if how == "tokens" else None, amount * MS if how == "time" else None
            limits = Limits(deadline_ns, cancel_after_tokens=tokens, cancel_after_ns=span_ns)
            records.append((how, await ask(client, responses, gap_us, first_us, limits)))

    async def body(client: Any) -> None:
        await asyncio.gather(*(user(client, requests) for requests in users))

    with_client(replay, True, body, ClientSettings(read_pause_ms=pause_ms))
    assert len(records) == sum(map(len, users))
    for how, record in records:
        assert record.outcome is Outcome.COMPLETED or (how and record.outcome in (Outcome.CANCELLED, Outcome.TIMEOUT)), record.error
        assert received(record) == record.asked_output_tokens or record.outcome is not Outcome.COMPLETED
