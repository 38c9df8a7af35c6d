"""Asks a server through our client, as the generator would."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.kserve.wire_client import WireClient
from trtbench.client.protocol import Client, Limits
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import now_ns
from trtbench.system.event_loop import new_loop

EVERY_LOOP = pytest.mark.parametrize("fast_loop", [False, True], ids=["asyncio", "uvloop"])

LATER_NS = 20_000_000_000

NAMES = frozenset({"input_ids", "input_lengths", "request_output_len", "end_id", "streaming", "exclude_input_in_output"})
BARE = KserveTarget("127.0.0.1:1", "tensorrt_llm", "", 8, "2.51.0", NAMES, frozenset({"output_ids", "sequence_length"}))
"""A target that need not be asked first."""


def target_of(url: str, model: str, settings: ClientSettings | None = None) -> KserveTarget:
    """A fake server's model; the odd ones have the plain one's tensors."""
    return replace(inspect_target(url, "tensorrt_llm", settings=settings or ClientSettings()), model=model)


def new_record(asked: int = 8, index: int = 0) -> RequestRecord:
    return RequestRecord(index=index, stage="c1", warmup=False, prompt=0, input_tokens=3, asked_output_tokens=asked, due_ns=now_ns())


def prompt(asked: int = 8) -> PlannedPrompt:
    return PlannedPrompt(np.array([1, 2, 3], np.int32), asked, 5)


def on_loop(main: Awaitable[None], fast_loop: bool) -> None:
    loop = new_loop(fast_loop)
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


def with_client(
    target: KserveTarget,
    fast_loop: bool,
    body: Callable[[Any], Awaitable[None]],
    settings: ClientSettings | None = None,
    workload: Workload | None = None,
) -> dict[str, Any]:
    """Run `body(client)`; what the client says of itself at the end."""
    facts: dict[str, Any] = {}

    async def main() -> None:
        client: Client = WireClient(target, workload or Workload(), settings or ClientSettings())
        try:
            await body(client)
        finally:
            facts.update(client.transport_facts())
            await client.close()

    on_loop(main(), fast_loop)
    return facts


async def send(client: Client, record: RequestRecord, limits: Limits | None = None) -> RequestRecord:
    await client.send_request(record, client.encode_request(prompt(record.asked_output_tokens)), limits or Limits(now_ns() + LATER_NS))
    return record


def ask(target: KserveTarget, fast_loop: bool, limits: Callable[[], Limits] | None = None, asked: int = 8) -> RequestRecord:
    record = new_record(asked)

    async def body(client: Client) -> None:
        await send(client, record, limits() if limits else None)

    with_client(target, fast_loop, body)
    return record


def ask_all(
    target: KserveTarget, requests: int, settings: ClientSettings, fast_loop: bool = True, prepare: bool = True, timeout_s: float = 20
) -> tuple[list[RequestRecord], dict[str, Any]]:
    """So many at once; (records, facts)."""
    records = [new_record(index=index) for index in range(requests)]

    async def body(client: Client) -> None:
        if prepare:
            await client.open_streams(requests)
        limits = Limits(now_ns() + round(timeout_s * 1e9))
        await asyncio.gather(*(send(client, record, limits) for record in records))

    return records, with_client(target, fast_loop, body, settings)
