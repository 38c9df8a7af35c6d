"""WireClient sends to one server of KServe v2 over trtbench's own HTTP/2, with the kernel's timestamps."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from trtbench.client.http2.wire_connection import MAX_MESSAGE_BYTES
from trtbench.client.kserve.encoder import MODEL_INFER
from trtbench.client.kserve.exchange import Exchange, UnaryExchange
from trtbench.client.kserve.grpc_wires import grpc_wires
from trtbench.client.kserve.messages import STREAM_INFER, request_body, with_request_id
from trtbench.client.kserve.model_switch import ModelSwitch
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.pooled_client import PooledClient
from trtbench.client.protocol import NO_END_ID, Client, Limits
from trtbench.client.round_robin import RoundRobinClient
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.load.headers import metadata_of
from trtbench.scenario.workload.workload import Workload

_DEFAULTS = ClientSettings()
_MAX_RESPONSE_BYTES = 1 << 24  # the longest message of a stream: four million tokens at once


class WireClient(PooledClient):
    """A Client that speaks KServe v2: on bidirectional streams, or on unary calls to a model that embeds. See Client and Pool."""

    def __init__(self, target: KserveTarget, workload: Workload, settings: ClientSettings = _DEFAULTS, end_id: int = NO_END_ID) -> None:
        """`end_id`: the token that ends an output early, or NO_END_ID for outputs of the requested length. It needs a running event loop.

        UserError if a file of `settings.tls` or a header cannot be used.
        """
        path, longest_bytes = (MODEL_INFER, MAX_MESSAGE_BYTES) if target.encoder else (STREAM_INFER, _MAX_RESPONSE_BYTES)
        wires = grpc_wires(longest_bytes, metadata_of(settings.headers))
        super().__init__(target.url, path, wires, settings, settings.streams_per_connection)
        self._target, self._workload, self._end_id = target, workload, end_id
        self._run_id = secrets.token_hex(4)  # TensorRT-LLM finds requests by id: no two requests on one server may have the same
        self._model_switch = ModelSwitch()

    def encode_request(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        return request_body(self._target, prompt, self._workload, self._end_id, context)

    async def send_request(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        encoder = self._target.encoder
        exchange = UnaryExchange(record, limits, encoder) if encoder else Exchange(record, limits, body, self._target.accumulates)
        with self._model_switch.in_flight() as to_model:
            await self._exchange(record, with_request_id(body + to_model, _request_id(self._run_id, record)), limits, exchange)

    async def switch_model(self, model: str) -> None:
        await self._model_switch.switch_model(model)


def _request_id(run_id: str, record: RequestRecord) -> str:
    return f"{run_id}-{record.stage}-{'w' if record.warmup else 'm'}{record.index}"


def open_client(target: KserveTarget, workload: Workload, settings: ClientSettings, end_id: int) -> Client:
    """A client of the server of `target`, or of all its servers. It needs a running event loop; UserError as WireClient raises it."""
    clients = [WireClient(replace(target, url=url, others=()), workload, settings, end_id) for url in (target.url, *target.others)]
    return clients[0] if len(clients) == 1 else RoundRobinClient(clients)
