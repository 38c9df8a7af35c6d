"""WireClient sends to one server of KServe v2 over trtbench's own HTTP/2, with the kernel's timestamps."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from trtbench.client.http2.wire_connection import MAX_MESSAGE_BYTES
from trtbench.client.in_flight import InFlight
from trtbench.client.kserve.encoder import MODEL_INFER, end_with_embedding
from trtbench.client.kserve.exchange import Exchange, UnaryExchange
from trtbench.client.kserve.grpc_wires import grpc_wires
from trtbench.client.kserve.messages import STREAM_INFER, request_body, with_request_id
from trtbench.client.kserve.model_switch import ModelSwitch
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.kserve.tensor_exchange import TensorExchange
from trtbench.client.kserve.tensor_messages import AnswerCheck, sequence_parameter
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
        path = MODEL_INFER if target.is_unary else STREAM_INFER
        longest_bytes = MAX_MESSAGE_BYTES if target.encoder or target.tensors else _MAX_RESPONSE_BYTES
        wires = grpc_wires(longest_bytes, metadata_of(settings.headers))
        super().__init__(target.url, path, wires, settings, settings.streams_per_connection)
        self._target, self._workload, self._end_id = target, workload, end_id
        self._check_of_answers = AnswerCheck(target.tensors, workload.tensors.tolerance_ratio) if target.tensors else None
        self._bodies: dict[tuple[Any, ...], bytes] = {}  # of tensors: prompts with the same row share one
        self._run_id = secrets.token_hex(4)  # TensorRT-LLM finds requests by id: no two requests on one server may have the same
        self._model_switch = ModelSwitch()

    def encode_request(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        encode = partial(request_body, self._target, prompt, self._workload, self._end_id, context)
        if self._check_of_answers is None or prompt.tensors is None:
            return encode()
        self._check_of_answers.expect(prompt.tensors)
        key = (prompt.tensors.number, prompt.priority, prompt.session is None, prompt.turn == 0, prompt.ends_session)
        if key not in self._bodies:
            self._bodies[key] = encode()
        return self._bodies[key]

    async def send_request(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        exchange = self._exchange_of(record, body, limits)
        with self._model_switch.in_flight() as to_model:
            added = to_model + self._sequence_of(record)
            await self._exchange(record, with_request_id(body + added, _request_id(self._run_id, record)), limits, exchange)

    def _exchange_of(self, record: RequestRecord, body: bytes, limits: Limits) -> InFlight:
        check, encoder = self._check_of_answers, self._target.encoder
        if check:
            unary = self._target.is_unary
            return UnaryExchange(record, limits, check.end_with_answer) if unary else TensorExchange(record, limits, check)
        if encoder:
            return UnaryExchange(record, limits, partial(end_with_embedding, tensors=encoder))
        return Exchange(record, limits, body, self._target.accumulates)

    def _sequence_of(self, record: RequestRecord) -> bytes:
        """The parameter by which the server knows the sequence of a request with tensors; empty if it belongs to none."""
        if self._check_of_answers is None or record.session is None:
            return b""
        return sequence_parameter(f"{self._run_id}-{record.stage}-{record.warmup}-{record.index - record.turn}")

    async def switch_model(self, model: str) -> None:
        await self._model_switch.switch_model(model)


def _request_id(run_id: str, record: RequestRecord) -> str:
    return f"{run_id}-{record.stage}-{'w' if record.warmup else 'm'}{record.index}"


def open_client(target: KserveTarget, workload: Workload, settings: ClientSettings, end_id: int) -> Client:
    """A client of the server of `target`, or of all its servers. It needs a running event loop; UserError as WireClient raises it."""
    clients = [WireClient(replace(target, url=url, others=()), workload, settings, end_id) for url in (target.url, *target.others)]
    return clients[0] if len(clients) == 1 else RoundRobinClient(clients)
