"""RoundRobinClient sends to several servers of one model."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from trtbench.client.protocol import Client, Limits
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import RequestRecord

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
    "paced_passes",
    "paced_reads",
    "paced_reads_crowded",
    "paced_ends",
)
_WORST = ("clock_offset_drift_ns", "clock_offset_uncertainty_ns", "last_loss", "read_pause_longest_ns", "paced_end_lag_p99_ns")


class RoundRobinClient:
    """Sends request i of a phase to server i mod n, whatever the number of workers and the speed of the servers."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self._clients = clients

    def encode_request(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        return self._clients[0].encode_request(prompt, context)

    async def open_streams(self, streams: int) -> None:
        """Open an equal share of the streams to each server. A slow server may later have more at once, which are opened then."""
        share = math.ceil(streams / len(self._clients))
        await asyncio.gather(*(client.open_streams(share) for client in self._clients))

    async def send_request(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        await self._clients[record.index % len(self._clients)].send_request(record, body, limits)

    def renew_streams(self) -> None:
        for client in self._clients:
            client.renew_streams()

    def transport_facts(self) -> dict[str, Any]:
        """The facts of the first client, with the counts of all added up and the worst figures of their clocks."""
        every = [client.transport_facts() for client in self._clients]
        added = {name: sum(facts[name] for facts in every) for name in _ADDED if name in every[0]}
        worst = {name: max(facts[name] for facts in every) for name in _WORST if name in every[0]}
        return every[0] | added | worst

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients))
