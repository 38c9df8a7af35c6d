"""The last token, the usage and [DONE] in one read: a replay server of the same process says exactly what a read holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from tests.support.asking import new_record
from tests.support.fakes.http_answers import LAST_CHUNK, UVICORN_HEAD, VLLM_DATA, chunk, event
from trtbench.client.openai.http_client import open_http_client
from trtbench.client.openai.request_shape import RequestShape
from trtbench.client.openai.target import OpenaiTarget
from trtbench.client.protocol import NO_END_ID, Limits
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import now_ns, seconds_ns

pytestmark = [pytest.mark.process, pytest.mark.timeout(30)]

TOKEN, LAST, USAGE, DONE = (chunk(event(data)) for data in VLLM_DATA)
END = USAGE + DONE + LAST_CHUNK
APART_S = 0.02  # the client is on the same event loop, and reads each piece before the next is sent


async def replay(pieces: Sequence[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers a request with these pieces, one after another."""
    await reader.readuntil(b"\r\n\r\n")
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(APART_S)
    writer.close()


def recorded(*pieces: bytes) -> RequestRecord:
    record = new_record(3)

    async def send() -> None:
        server = await asyncio.start_server(partial(replay, pieces), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        shape = RequestShape(prompt="ids", counts="token_ids")
        target = OpenaiTarget(f"http://127.0.0.1:{port}", "m", "openai-completions", shape)
        client = open_http_client(target, Workload(), ClientSettings(read_pause_ms=0), NO_END_ID)
        await client.open_streams(1)
        body = client.encode_request(PlannedPrompt(np.array([1, 2], np.int32), 3, seed=1))
        await client.send_request(record, body, Limits(now_ns() + seconds_ns(20)))
        await client.close()
        server.close()

    asyncio.run(send())
    assert (record.outcome, record.token_counts) == (Outcome.COMPLETED, [1, 1, 1]), record.error
    return record


@pytest.mark.parametrize(
    ("pieces", "coalesced", "with_end"),
    [
        ((UVICORN_HEAD + TOKEN, TOKEN, LAST + END), [], True),
        ((UVICORN_HEAD + TOKEN, TOKEN, LAST + USAGE, DONE + LAST_CHUNK), [], True),
        ((UVICORN_HEAD + TOKEN, TOKEN, LAST, END), [], False),
        ((UVICORN_HEAD + TOKEN, TOKEN + LAST + END), [1, 2], False),
        ((UVICORN_HEAD + TOKEN + TOKEN, LAST + END), [0, 1], True),
        ((UVICORN_HEAD + TOKEN + TOKEN + LAST + END,), [0, 1, 2], False),
    ],
)
def test_the_class_of_the_last_token(pieces: tuple[bytes, ...], coalesced: list[int], with_end: bool) -> None:
    record = recorded(*pieces)
    assert (record.coalesced, record.read_with_end) == (coalesced, with_end)
