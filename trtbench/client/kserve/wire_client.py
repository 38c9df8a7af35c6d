"""WireClient: the lightest and most exact Client, over our own HTTP/2 with the kernel's timestamps.

RoundRobinClient sends the requests of one load to several servers in turn.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tritonclient.grpc import service_pb2

from trtbench.client.http2.wire_connection import MAX_MESSAGE_BYTES
from trtbench.client.kserve.encoder import MODEL_INFER
from trtbench.client.kserve.exchange import Exchange, UnaryExchange
from trtbench.client.kserve.messages import NO_END_ID, STREAM_INFER, request_body, with_request_id
from trtbench.client.kserve.target import Target
from trtbench.client.outcomes import ANSWERED, end
from trtbench.client.protocol import TOO_LATE, Client, ConnectError, Limits, request_id, unreachable
from trtbench.client.transport.connection import TransportError
from trtbench.client.transport.connector import Connector
from trtbench.client.transport.kernel_timestamps import KernelStamps, StampsUnavailable
from trtbench.client.transport.pool import Pool, Stream, TooManyFilesError
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import NS_PER_S, now_ns
from trtbench.system.event_loop import loop_name


class Addressed:
    """Requests are serialised before a phase; a field of protobuf that stands twice has its last value, so a name is put behind."""

    def __init__(self) -> None:
        self._to_model = b""  # as serialised: the target's own
        self._in_flight = _InFlight()

    @contextmanager
    def one(self) -> Iterator[bytes]:
        """A request from before its sending to its end; yields what is put behind it."""
        among = self._in_flight
        among.enter()
        try:
            yield self._to_model
        finally:
            among.leave()

    async def switch(self, model: str) -> None:
        """Requests that begin from now on go to `model`; returns when those that began before are over."""
        before, self._in_flight = self._in_flight, _InFlight()
        self._to_model = service_pb2.ModelInferRequest(model_name=model).SerializeToString()
        await before.over()


class _InFlight:
    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def enter(self) -> None:
        self._count += 1
        self._none.clear()

    def leave(self) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    async def over(self) -> None:
        await self._none.wait()


_DEFAULTS = ClientSettings()
_CHECK_S = 1.0
_MAX_RESPONSE_BYTES = 1 << 24  # of a stream: four million tokens at once
_MOST_REFUSALS = 5  # of one request; a server that refuses on is one that fails


class WireClient:
    """KServe v2 on bidirectional streams, of an encoder on unary calls; see Client, Pool.

    A response costs the event loop one callback and wakes no coroutine.
    """

    def __init__(self, target: Target, workload: Workload, settings: ClientSettings = _DEFAULTS, end_id: int = NO_END_ID) -> None:
        """`end_id`: the token that ends an output early; NO_END_ID to always generate the asked length. Needs a running event loop.

        UserError when a file of `settings.tls` does not do.
        """
        self._target, self._workload, self._settings, self._end_id = target, workload, settings, end_id
        self._stamps, self._why_user = _stamps(settings)
        path, longest_bytes = (MODEL_INFER, MAX_MESSAGE_BYTES) if target.encoder else (STREAM_INFER, _MAX_RESPONSE_BYTES)
        self._pool = Pool(
            Connector(target.url, settings, self._stamps, longest_bytes),
            path,
            settings.streams_per_connection,
            settings.requests_per_stream,
        )
        self._run_id = secrets.token_hex(4)  # TensorRT-LLM looks requests up by id: no two on one server may share one
        self._resent = 0
        self._addressed = Addressed()
        self._check_s = min(_CHECK_S, settings.keepalive_s / 4)
        self._loop = asyncio.get_running_loop()
        self._checks = self._loop.call_later(self._check_s, self._check)

    def encode(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        return request_body(self._target, prompt, self._workload, self._end_id, context)

    async def prepare(self, streams: int) -> None:
        try:
            await self._pool.prepare(streams)
        except TooManyFilesError as error:
            raise ConnectError(f"{self._target.url}: {error}") from error
        except TransportError as error:
            raise await unreachable(self._target.url, self._settings, str(error)) from error

    async def send(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        encoder = self._target.encoder
        exchange = UnaryExchange(record, limits, encoder) if encoder else Exchange(record, limits, body, self._target.accumulates)
        with self._addressed.one() as to_model:
            await self._send(record, with_request_id(body + to_model, request_id(self._run_id, record)), limits, exchange)

    async def _send(self, record: RequestRecord, message: bytes, limits: Limits, exchange: Exchange | UnaryExchange) -> None:
        for _ in range(_MOST_REFUSALS):
            stream = await self._stream(record, limits, len(message), exchange.unsent)
            if stream is None:
                return
            exchange.served = stream.wear.served
            exchange.send(stream, message)
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
            record.attempts += exchange.unsent  # the caller counts the last one

    async def switch(self, model: str) -> None:
        await self._addressed.switch(model)

    def renew(self) -> None:
        self._pool.renew()

    def facts(self) -> dict[str, Any]:
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
        """A stream to send on, a `fresh` one where it is wanted; None, and the record says why, when there is none in time."""
        try:
            while (left_ns := limits.deadline_ns - now_ns()) > 0:
                if stream := self._pool.stream_at_hand(request_bytes, fresh):
                    return stream
                await asyncio.wait_for(self._pool.more_room(), left_ns / NS_PER_S)
            end(record, Outcome.TIMEOUT, TOO_LATE)
        except TransportError as error:
            end(record, Outcome.CONNECTION, str(error))
        except asyncio.TimeoutError:  # no OSError before Python 3.11
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


def _stamps(settings: ClientSettings) -> tuple[KernelStamps | None, str]:
    """The kernel's stamps, or why there are none."""
    if not settings.kernel_stamps:
        return None, "client.kernel_stamps is false"
    try:
        return KernelStamps.open(), ""
    except StampsUnavailable as error:
        return None, str(error)


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
    return clients[0] if len(clients) == 1 else RoundRobinClient(clients)


class RoundRobinClient:
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
