"""A client that is sent to another model, and streams that end with the version they served."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import h2.events
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from tests.client.transport.test_pool import Seen, run
from tests.support.asking import EVERY_LOOP, new_record, send, target_of, with_client
from tests.support.fakes.fake_http2 import FakeHttp2, Peer, serving
from trtbench.client.kserve.model_switch import ModelSwitch
from trtbench.client.transport.stream import ServedVersion
from trtbench.rundir.records import Outcome
from trtbench.scenario.load.client_settings import ClientSettings

pytestmark = pytest.mark.timeout(30)


@EVERY_LOOP
def test_a_switch_moves_new_requests_and_waits_for_those_before(fake_server: Any, fast_loop: bool) -> None:
    async def body(client: Any) -> None:
        before = new_record(asked=60)
        under_way = asyncio.create_task(send(client, before))
        await asyncio.sleep(0)
        switching = asyncio.create_task(client.switch_model("green"))
        await asyncio.sleep(0)
        after = await send(client, new_record(asked=1))
        await switching
        assert under_way.done() and before.outcome is Outcome.COMPLETED
        assert (before.model_version, after.model_version) == ("1", "2")
        await client.switch_model("tensorrt_llm")
        assert (await send(client, new_record())).model_version == "1"

    facts = with_client(target_of(fake_server.url, "tensorrt_llm"), fast_loop, body)
    assert facts["streams_renewed"] == 1  # when the first version answered again: the request from before was the older one


@EVERY_LOOP
def test_one_version_alone_renews_nothing(fake_server: Any, fast_loop: bool) -> None:
    async def body(client: Any) -> None:
        for index in range(4):
            await send(client, new_record(index=index))

    assert with_client(target_of(fake_server.url, "tensorrt_llm"), fast_loop, body)["streams_renewed"] == 0


@pytest.mark.process
@EVERY_LOOP
def test_after_a_renewal_no_stream_serves_again(fast_loop: bool) -> None:
    async def body(client: Any) -> None:
        await client.open_streams(2)
        await send(client, new_record())
        client.renew_streams()
        await send(client, new_record(index=1))

    seen = Seen()
    with serving(seen) as server:
        facts = run(server, fast_loop, body)
    (first, second) = seen.streams
    assert first != second and facts["connections_opened"] == 2  # other streams, the connections stand
    assert facts["streams_renewed"] == 1


class Ending:
    """Ends a stream that the client has ended, and keeps what it saw of it."""

    def __init__(self) -> None:
        self.reset = self.ended = False

    def __call__(self, peer: Peer) -> None:
        peer.begin()
        stream = peer.request()
        peer.answer(stream, 1, final=True)
        while not self.ended and not self.reset:
            peer.read()
            self.ended = any(isinstance(event, h2.events.StreamEnded) and event.stream_id == stream for event in peer.events)
            self.reset = any(isinstance(event, h2.events.StreamReset) for event in peer.events)
        peer.trailers(stream, 0)
        peer.answer(peer.request(), 1, final=True)


@pytest.mark.process
@EVERY_LOOP
def test_a_stream_is_ended_and_not_reset(fast_loop: bool) -> None:
    async def body(client: Any) -> None:
        await client.open_streams(1)
        await send(client, new_record(asked=1))
        client.renew_streams()
        assert (await send(client, new_record(asked=1, index=1))).outcome is Outcome.COMPLETED

    script = Ending()
    with serving(script) as server:
        facts = run(server, fast_loop, body)
    assert (script.ended, script.reset) == (True, False)
    assert facts["connections_opened"] == 1 and facts["connections_lost"] == 0


class Slow:
    """Answers a stream's request when the next one has come, over another stream."""

    def __init__(self) -> None:
        self.streams: list[int] = []

    def __call__(self, peer: Peer) -> None:
        peer.begin()
        first = peer.request()
        second = peer.request()
        for stream in (first, second):
            peer.answer(stream, 1, final=True)
        third = peer.request()
        self.streams += [first, second, third]
        peer.answer(third, 1, final=True)


@pytest.mark.process
@EVERY_LOOP
def test_a_stream_in_use_is_closed_with_its_request(fast_loop: bool) -> None:
    async def body(client: Any) -> None:
        await client.open_streams(2)
        under_way = asyncio.create_task(send(client, new_record(asked=1)))
        await asyncio.sleep(0)
        client.renew_streams()
        await send(client, new_record(asked=1, index=1))
        assert (await under_way).outcome is Outcome.COMPLETED
        await send(client, new_record(asked=1, index=2))

    script = Slow()
    server: FakeHttp2
    with serving(script) as server:
        run(server, fast_loop, body, ClientSettings(streams_per_connection=8))
    first, second, third = script.streams
    assert first not in (second, third)


@given(st.lists(st.tuples(st.sampled_from("12"), st.integers(1, 1000)), max_size=30, unique_by=lambda one: one[1]))
def test_the_newest_request_says_which_version_serves(answers: list[tuple[str, int]]) -> None:
    """Against the plain reading: only requests sent after all before count, a change is one between two of those."""
    served, newest, changes = ServedVersion(), [], 0
    for version, sent_ns in answers:
        changes += served.replaced_by(version, sent_ns)
        if not newest or sent_ns > newest[-1][1]:
            newest.append((version, sent_ns))
    assert changes == sum(a[0] != b[0] for a, b in pairwise(newest))


@pytest.mark.parametrize("name", ["green", "m" * 128, "m" * 20_000])
def test_a_name_of_any_length_takes_the_place_of_the_one_before(name: str) -> None:
    async def asked() -> Any:
        model_switch = ModelSwitch()
        await model_switch.switch_model(name)
        with model_switch.in_flight() as to_model:
            return service_pb2.ModelInferRequest.FromString(service_pb2.ModelInferRequest(model_name="m").SerializeToString() + to_model)

    assert asyncio.run(asked()).model_name == name
