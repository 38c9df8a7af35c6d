"""DealingClient: several servers under one load, their requests dealt in turn."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trtbench.client.kserve.client import WireClient
from trtbench.client.kserve.target import Target
from trtbench.client.protocol import Client, Limits
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload

_ADDED = (
    "connections",
    "connections_opened",
    "connections_lost",
    "requests_resent",
    "stamped_reads",
    "stamp_fallbacks",
    "clock_steps",
    "streams_renewed",
    "streams_retired",
)
_WORST = ("clock_offset_drift_ns", "clock_offset_uncertainty_ns", "last_loss")


def open_client(target: Target, workload: Workload, settings: ClientSettings, end_id: int) -> Client:
    """The client of one server, or of all that `target` names. Needs a running event loop; UserError as WireClient raises it."""
    clients = [WireClient(replace(target, url=url, others=()), workload, settings, end_id) for url in (target.url, *target.others)]
    return clients[0] if len(clients) == 1 else DealingClient(clients)


class DealingClient:
    """Request i of a phase goes to server i mod n: the plan alone decides, whatever the number of workers and the servers' speed."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self._clients = clients

    def encode(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        return self._clients[0].encode(prompt, context)

    async def prepare(self, streams: int) -> None:
        """An even share to each; where one is slow, more of the streams at once come to it, and it opens them then."""
        share = math.ceil(streams / len(self._clients))
        await asyncio.gather(*(client.prepare(share) for client in self._clients))

    async def send(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        await self._clients[record.index % len(self._clients)].send(record, body, limits)

    async def switch(self, model: str) -> None:
        await asyncio.gather(*(client.switch(model) for client in self._clients))

    def renew(self) -> None:
        for client in self._clients:
            client.renew()

    def facts(self) -> dict[str, Any]:
        """The first one's, counts added up, of the clocks the worst."""
        every = [client.facts() for client in self._clients]
        added = {name: sum(facts[name] for facts in every) for name in _ADDED if name in every[0]}
        worst = {name: max(facts[name] for facts in every) for name in _WORST if name in every[0]}
        return every[0] | added | worst

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients))
