"""What a connection does with bytes: stamps, marks, writes that wait."""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.asking import BARE, EVERY_LOOP, LATER_NS, ask_all, new_record, with_client
from tests.support.fakes.fake_http2 import Peer, final_message, framed, serving, token_message
from trtbench.client.protocol import Limits
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.system.clock import now_ns

pytestmark = [pytest.mark.process, pytest.mark.timeout(30), EVERY_LOOP]

KERNEL, USER = ClientSettings(), ClientSettings(kernel_stamps=False)
STAMPS = pytest.mark.parametrize("settings", [KERNEL, USER], ids=["kernel", "user"])


def data_frames(stream: int, *messages: bytes) -> bytes:
    frames = [framed(message) for message in messages]
    return b"".join(struct.pack(">I", len(frame))[1:] + b"\0\0" + struct.pack(">I", stream) + frame for frame in frames)


def one_request(script: Any, settings: ClientSettings, fast_loop: bool) -> RequestRecord:
    with serving(script) as server:
        [record], _ = ask_all(replace(BARE, url=server.url), 1, settings, fast_loop)
    assert record.outcome is Outcome.COMPLETED, record.error
    assert len(record.token_lag_ns) == (len(record.token_ns) if settings.kernel_stamps else 0)
    return record


@STAMPS
def test_tokens_that_came_together_are_marked(fast_loop: bool, settings: ClientSettings) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        stream = peer.request()
        for tokens in ([1], [2, 3, 4], [5]):
            peer.headers(stream)
            time.sleep(0.1)
            peer.raw(data_frames(stream, *map(token_message, tokens)))
        time.sleep(0.1)
        peer.raw(data_frames(stream, token_message(6), final_message()))
        peer.wait_gone()

    record = one_request(script, settings, fast_loop)
    assert record.output_ids == [1, 2, 3, 4, 5, 6]
    assert record.coalesced == [1, 2, 3]
    assert record.read_with_end, "the last came with the final response"
    assert record.token_ns[1] == record.token_ns[2] == record.token_ns[3] > record.token_ns[0]


@STAMPS
def test_messages_may_be_cut_anywhere(fast_loop: bool, settings: ClientSettings) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        stream = peer.request()
        peer.headers(stream)
        for byte in data_frames(stream, token_message(1), token_message(2), final_message()):
            peer.raw(bytes([byte]))
        peer.wait_gone()

    assert one_request(script, settings, fast_loop).output_ids == [1, 2]


def test_the_lag_is_ours_and_the_stamp_is_not(fast_loop: bool) -> None:
    """A loop that is busy for 200 ms after the data came reads late; the kernel's stamp does not care."""
    sent_ns: list[int] = []
    waiting, busy, written = threading.Event(), threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.begin()
        stream = peer.request()
        peer.headers(stream)
        waiting.set()
        busy.wait(10)
        sent_ns.append(now_ns())
        peer.message(stream, token_message(1))
        written.set()
        time.sleep(0.3)
        peer.message(stream, final_message())
        peer.wait_gone()

    record = new_record()

    async def body(client: Any) -> None:
        if client.transport_facts()["stamps"] != "kernel":
            pytest.skip(client.transport_facts()["stamps_why"])
        sending = asyncio.create_task(
            client.send_request(record, client.encode_request(PlannedPrompt(np.ones(3, np.int32), 1, 1)), Limits(now_ns() + LATER_NS))
        )
        while not waiting.is_set():
            await asyncio.sleep(0.001)
        busy.set()
        written.wait(10)
        time.sleep(0.2)
        await sending

    with serving(script) as server:
        with_client(replace(BARE, url=server.url), fast_loop, body)
    assert record.token_lag_ns[0] > 150_000_000
    assert 0 <= record.token_ns[0] - sent_ns[0] < record.token_lag_ns[0]


@STAMPS
def test_a_prompt_larger_than_every_buffer(fast_loop: bool, settings: ClientSettings) -> None:
    """Held back by the socket and by the server's window; all of it arrives, and the sending counts from the first byte."""
    input_ids = np.arange(2_000_000, dtype=np.int32)
    received: list[Any] = []

    def script(peer: Peer) -> None:
        peer.begin()
        time.sleep(0.3)
        stream = peer.request()
        received.append(peer.last_request)
        peer.answer(stream, 1, final=True)
        peer.wait_gone()

    record = new_record()

    async def body(client: Any) -> None:
        await client.open_streams(1)
        await client.send_request(record, client.encode_request(PlannedPrompt(input_ids, 1, 1)), Limits(now_ns() + LATER_NS))

    with serving(script) as server:
        with_client(replace(BARE, url=server.url), fast_loop, body, settings)
    assert record.outcome is Outcome.COMPLETED and record.sent_ns
    assert received[0].raw_input_contents[0] == input_ids.tobytes()
    assert record.token_ns[0] - record.sent_ns > 0.1e9
