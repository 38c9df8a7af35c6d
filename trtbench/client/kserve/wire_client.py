"""WireClient sends to one server over trtbench's own HTTP/2, with the kernel's timestamps; RoundRobinClient sends to several servers."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trtbench.client.http2.calls import Metadata
from trtbench.client.http2.wire_connection import MAX_MESSAGE_BYTES, WireConnection
from trtbench.client.kserve.encoder import MODEL_INFER
from trtbench.client.kserve.exchange import Exchange, UnaryExchange
from trtbench.client.kserve.messages import STREAM_INFER, request_body, with_request_id
from trtbench.client.kserve.model_switch import ModelSwitch
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.protocol import NO_END_ID, TOO_LATE, Client, ConnectError, Limits
from trtbench.client.request_outcome import ANSWERED, end
from trtbench.client.transport.connection import TransportError
from trtbench.client.transport.connector import Connector
from trtbench.client.transport.greeting import unreachable
from trtbench.client.transport.kernel_timestamps import KernelStamps, StampsUnavailable
from trtbench.client.transport.pool import Pool, TooManyFilesError
from trtbench.client.transport.stream import Stream
from trtbench.client.wire import WireKind
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.load.headers import metadata_of
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import NS_PER_S, now_ns
from trtbench.system.event_loop import loop_name

_DEFAULTS = ClientSettings()
_CHECK_S = 1.0
_MAX_RESPONSE_BYTES = 1 << 24  # the longest message of a stream: four million tokens at once
_MOST_REFUSALS = 5  # a request that was refused this often has failed


class WireClient:
    """A Client that speaks KServe v2: on bidirectional streams, or on unary calls to a model that embeds. See Client and Pool.

    A response costs the event loop one callback and wakes no coroutine.
    """

    def __init__(self, target: KserveTarget, workload: Workload, settings: ClientSettings = _DEFAULTS, end_id: int = NO_END_ID) -> None:
        """`end_id`: the token that ends an output early, or NO_END_ID for outputs of the requested length. It needs a running event loop.

        UserError if a file of `settings.tls` or a header cannot be used.
        """
        self._target, self._workload, self._settings, self._end_id = target, workload, settings, end_id
        self._stamps, self._why_user = _stamps(settings)
        path, longest_bytes = (MODEL_INFER, MAX_MESSAGE_BYTES) if target.encoder else (STREAM_INFER, _MAX_RESPONSE_BYTES)
        self._pool = Pool(
            Connector(target.url, settings, self._stamps, grpc_wires(longest_bytes, metadata_of(settings.headers))),
            path,
            settings.streams_per_connection,
            settings.requests_per_stream,
        )
        self._run_id = secrets.token_hex(4)  # TensorRT-LLM finds requests by id: no two requests on one server may have the same
        self._resent = 0
        self._model_switch = ModelSwitch()
        self._check_s = min(_CHECK_S, settings.keepalive_s / 4)
        self._loop = asyncio.get_running_loop()
        self._checks = self._loop.call_later(self._check_s, self._check)

    def encode_request(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        return request_body(self._target, prompt, self._workload, self._end_id, context)

    async def open_streams(self, streams: int) -> None:
        try:
            await self._pool.prepare(streams)
        except TooManyFilesError as error:
            raise ConnectError(f"{self._target.url}: {error}") from error
        except TransportError as error:
            raise await unreachable(self._target.url, self._settings, str(error)) from error

    async def send_request(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        encoder = self._target.encoder
        exchange = UnaryExchange(record, limits, encoder) if encoder else Exchange(record, limits, body, self._target.accumulates)
        with self._model_switch.in_flight() as to_model:
            await self._exchange(record, with_request_id(body + to_model, _request_id(self._run_id, record)), limits, exchange)

    async def _exchange(self, record: RequestRecord, message: bytes, limits: Limits, exchange: Exchange | UnaryExchange) -> None:
        for _ in range(_MOST_REFUSALS):
            stream = await self._stream(record, limits, len(message), exchange.unsent)
            if stream is None:
                return
            exchange.served = stream.wear.served
            exchange.start_on(stream, message)
            try:
                await exchange.over
            except asyncio.CancelledError:
                exchange.give_up(Outcome.CANCELLED, "cancelled by the client")
                raise
            finally:
                if record.outcome in ANSWERED and not exchange.ends_stream:
                    self._pool.keep(stream, record.model_version, record.sent_ns or 0, len(message))
            if exchange.cut_off:
                self._pool.cut_off(stream)
            if not exchange.refused and not exchange.unsent:
                return
            self._resent += 1
            record.attempts += exchange.unsent  # the caller counts the last attempt

    async def switch_model(self, model: str) -> None:
        await self._model_switch.switch_model(model)

    def renew_streams(self) -> None:
        self._pool.renew()

    def transport_facts(self) -> dict[str, Any]:
        facts = {
            "transport": "wire",
            "loop": loop_name(),
            "stamps": "kernel" if self._stamps else "user",
            "stamps_why": self._why_user,
            "requests_resent": self._resent,
        }
        return facts | self._pool.facts() | (self._stamps.facts() if self._stamps else {})

    async def close(self) -> None:
        self._checks.cancel()
        await self._pool.close()
        if self._stamps:
            self._stamps.close()

    async def _stream(self, record: RequestRecord, limits: Limits, request_bytes: int, fresh: bool) -> Stream | None:
        """A stream to send on, unused if `fresh` is set; None, with the reason in the record, if none becomes free in time."""
        try:
            while (left_ns := limits.deadline_ns - now_ns()) > 0:
                if stream := self._pool.ready_stream(request_bytes, fresh):
                    return stream
                await asyncio.wait_for(self._pool.more_room(), left_ns / NS_PER_S)
            end(record, Outcome.TIMEOUT, TOO_LATE)
        except TransportError as error:
            end(record, Outcome.CONNECTION, str(error))
        except asyncio.TimeoutError:  # not an OSError before Python 3.11
            end(record, Outcome.TIMEOUT, TOO_LATE)
        except asyncio.CancelledError:
            end(record, Outcome.CANCELLED, "cancelled by the client")
            raise
        return None

    def _check(self) -> None:
        if self._stamps:
            self._stamps.check()
        self._pool.check(now_ns())
        self._checks = self._loop.call_later(self._check_s, self._check)


def _request_id(run_id: str, record: RequestRecord) -> str:
    return f"{run_id}-{record.stage}-{'w' if record.warmup else 'm'}{record.index}"


def _stamps(settings: ClientSettings) -> tuple[KernelStamps | None, str]:
    """The kernel's timestamps, or the reason why there are none."""
    if not settings.kernel_stamps:
        return None, "client.kernel_stamps is false"
    try:
        return KernelStamps.open(), ""
    except StampsUnavailable as error:
        return None, str(error)


def grpc_wires(max_message_bytes: int, metadata: Metadata = ()) -> WireKind:
    """gRPC over HTTP/2, for a Connector; see WireConnection for the parameters."""
    return WireKind(
        name="HTTP/2",
        alpn="h2",
        alpn_required=True,
        wrong_port_hint="is this its gRPC port?",
        open=lambda authority, scheme: WireConnection(authority, scheme, max_message_bytes, metadata),
    )


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


def open_client(target: KserveTarget, workload: Workload, settings: ClientSettings, end_id: int) -> Client:
    """A client of the server of `target`, or of all its servers. It needs a running event loop; UserError as WireClient raises it."""
    clients = [WireClient(replace(target, url=url, others=()), workload, settings, end_id) for url in (target.url, *target.others)]
    return clients[0] if len(clients) == 1 else RoundRobinClient(clients)


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

    async def switch_model(self, model: str) -> None:
        await asyncio.gather(*(client.switch_model(model) for client in self._clients))

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
