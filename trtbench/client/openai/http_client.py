"""HttpClient sends to one HTTP server, one request at a time on each connection, with the kernel's timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from trtbench.client.http1.http_wire import http_wires
from trtbench.client.openai.exchange import HttpExchange
from trtbench.client.openai.target import OpenaiTarget
from trtbench.client.pooled_client import PooledClient
from trtbench.client.protocol import Client, Limits
from trtbench.client.round_robin import RoundRobinClient
from trtbench.client.transport.pool import SPARE_FILES
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.load.headers import metadata_of
from trtbench.scenario.workload.workload import Workload

_JSON = msgspec.json.Encoder()


class HttpClient(PooledClient):
    """A Client that speaks HTTP/1.1 to an OpenAI-compatible endpoint. See Client, Endpoint and RequestShape."""

    def __init__(self, target: OpenaiTarget, workload: Workload, settings: ClientSettings) -> None:
        """It needs a running event loop. UserError if a file of `settings.tls` or a header cannot be used."""
        wires = http_wires(metadata_of(settings.headers), most_requests=settings.requests_per_stream)
        super().__init__(target.address, target.path, wires, settings, streams_per_connection=1)
        self._target, self._workload = target, workload

    def encode_request(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        target = self._target
        ids = [*context, *prompt.input_ids.tolist()]
        return _JSON.encode(target.way.body(target.model, target.shape, prompt, ids, self._workload))

    async def send_request(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        target = self._target
        counts, streams = target.shape.counts, self._workload.streaming
        exchange = HttpExchange(record, limits, target.way, counts, len(body), streams, target.accumulates)
        await self._exchange(record, body, limits, exchange)

    def transport_facts(self) -> dict[str, Any]:
        return super().transport_facts() | {"transport": "http/1.1"}


def open_http_client(target: OpenaiTarget, workload: Workload, settings: ClientSettings, end_id: int) -> Client:
    """A client of the server of `target`, or of all its servers. It needs a running event loop; UserError as HttpClient raises it.

    `end_id` has no place in these requests: without ignore_eos the server ends an output where its own model does.
    """
    clients = [HttpClient(replace(target, url=url, others=()), workload, settings) for url in (target.url, *target.others)]
    return clients[0] if len(clients) == 1 else RoundRobinClient(clients)


def open_http_files(settings: ClientSettings, streams: int) -> int:
    """The number of files that a process with `streams` concurrent streams has open: a connection for each."""
    return streams + SPARE_FILES
