"""Sends requests to an HTTP target through our client, one after another."""

from __future__ import annotations

import asyncio

from trtbench.client.openai.http_client import open_http_client
from trtbench.client.openai.target import OpenaiTarget
from trtbench.client.protocol import NO_END_ID, Limits
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import now_ns, seconds_ns


def sent_to(
    target: OpenaiTarget, prompt: PlannedPrompt, requests: int = 1, limit_s: float = 60.0, cancel_after_tokens: int | None = None
) -> list[RequestRecord]:
    """The records of that number of requests with this prompt; `limit_s` is the time limit of each."""

    async def send() -> list[RequestRecord]:
        client = open_http_client(target, Workload(streaming=target.streaming), ClientSettings(), NO_END_ID)
        await client.open_streams(1)
        body, records = client.encode_request(prompt), []
        for index in range(requests):
            record = RequestRecord(index, "s", False, 0, len(prompt.input_ids), prompt.output_tokens, now_ns())
            await client.send_request(record, body, Limits(now_ns() + seconds_ns(limit_s), cancel_after_tokens))
            records.append(record)
        await client.close()
        return records

    return asyncio.run(send())
