"""Client: sends one planned request and stamps what comes back. Here over grpc.aio; `wire_client.py` has our own transport."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Sequence
from typing import Any, Protocol

import grpc
import grpc.aio

from trtbench.clock import now_ns
from trtbench.load.addressed import Addressed
from trtbench.load.channel import open_channel
from trtbench.load.embedding import MODEL_INFER
from trtbench.load.errors import ANSWERED, end, end_with_status
from trtbench.load.event_loop import loop_name
from trtbench.load.greeting import explain
from trtbench.load.grpc_calls import ask, ended, ended_by_server
from trtbench.load.limits import Limits as Limits
from trtbench.load.limits import Patience
from trtbench.load.messages import NO_END_ID, STREAM_INFER, request_body, with_request_id
from trtbench.load.plan import PlannedPrompt
from trtbench.load.served_version import ServedVersion
from trtbench.load.stream import Wear
from trtbench.load.take import take_response, whole_text
from trtbench.load.target import Target
from trtbench.records import Outcome, RequestRecord
from trtbench.scenario import ClientSettings, Workload, metadata_of

_CONNECTIONS = 4
_CONNECT_S = 5.0
_MOST_SENDINGS = 5  # of one request
_DEFAULTS = ClientSettings()
TOO_LATE = "its time limit had passed before it could be sent"


class ConnectError(Exception):
    """The server cannot be reached; the message says where and why."""


async def unreachable(url: str, settings: ClientSettings, fault: str) -> ConnectError:
    """The error of a server that was not reached: what answers at its address now, or `fault` where nothing is wrong with that."""
    found = await asyncio.to_thread(explain, url, settings)
    return ConnectError(found or f"{url}: {fault}")


class Client(Protocol):
    """One way to speak to the server. `encode` runs before a phase, `send` during it; both on the event loop's thread."""

    def encode(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        """The prompt as `send` wants it; `context`: token ids that the model reads before the prompt's own."""

    async def prepare(self, streams: int) -> None:
        """Open what so many requests at once will need, so that none pays for it. ConnectError when the server cannot be reached."""

    async def send(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        """Send one request, fill everything of `record` that comes of it, and return when it is over.

        A planned cancellation is CANCELLED with what came until then. The caller counts the attempt and the worker.

        No fault of the request raises: it becomes the record's outcome. Cancelling the call cancels the request on the server,
        fills what had come until then, sets the outcome CANCELLED and raises CancelledError.
        """

    async def switch(self, model: str) -> None:
        """Send what is sent from now on to another model of the server; returns when all that was sent before is over."""

    def renew(self) -> None:
        """Use no stream again that was used so far: the server may keep what has served on it until it is closed."""

    def facts(self) -> dict[str, Any]:
        """What the run should know of the transport, plain JSON: its name, where stamps are from, connections, reconnects, faults."""

    async def close(self) -> None: ...


class GrpcClient:
    """KServe v2 over grpc.aio on raw bytes: one bidirectional stream a request in flight, spread over a few connections.

    A stream whose request completed serves the next one, for the reason given in `pool.py`. After any other end it is dropped.
    Of an encoder each request is a unary call.
    """

    def __init__(self, target: Target, workload: Workload, settings: ClientSettings = _DEFAULTS, end_id: int = NO_END_ID) -> None:
        """`end_id`: the token that ends an output early; NO_END_ID to always generate the asked length. Needs a running event loop.

        UserError when a file of `settings.tls` cannot be read.
        """
        self._target, self._workload, self._settings, self._end_id = target, workload, settings, end_id
        self._channels = [open_channel(target.url, settings, asynchronous=True) for _ in range(_CONNECTIONS)]
        self._openers = itertools.cycle([channel.stream_stream(STREAM_INFER) for channel in self._channels])
        self._callers = itertools.cycle([channel.unary_unary(MODEL_INFER) for channel in self._channels])
        self._metadata = metadata_of(settings.headers)
        self._idle: list[tuple[Any, Wear]] = []
        self._closing: set[asyncio.Future[None]] = set()
        self._watches = [asyncio.ensure_future(self._watch(channel)) for channel in self._channels]
        self._renewals = self._resent = 0
        self._requests_per_stream = settings.requests_per_stream
        self._served = ServedVersion()
        self._addressed = Addressed()
        self._compression = settings.compression
        self._run_id = secrets.token_hex(4)  # TensorRT-LLM looks requests up by id: no two on one server may share one

    async def prepare(self, streams: int) -> None:
        ready = asyncio.gather(*(channel.channel_ready() for channel in self._channels))
        try:
            await asyncio.wait_for(ready, _CONNECT_S)
        except asyncio.TimeoutError as error:  # no OSError before Python 3.11
            raise await unreachable(self._target.url, self._settings, f"no answer within {_CONNECT_S:g} s") from error

    def encode(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        return request_body(self._target, prompt, self._workload, self._end_id, context)

    def facts(self) -> dict[str, Any]:
        return {
            "transport": "grpc",
            "stamps": "user",
            "stamps_why": "transport grpc reads its sockets itself",
            "loop": loop_name(),
            "connections": _CONNECTIONS,
            "compression": self._compression,
            "streams_renewed": self._renewals,
            "requests_resent": self._resent,
        }

    async def switch(self, model: str) -> None:
        await self._addressed.switch(model)

    def renew(self) -> None:
        self._renewals += 1
        for call, _ in self._idle:
            self._close_stream(call)
        self._idle = []

    async def send(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        with self._addressed.one() as to_model:
            await self._send(record, with_request_id(body + to_model, request_id(self._run_id, record)), limits)

    async def _send(self, record: RequestRecord, message: bytes, limits: Limits) -> None:
        record.sent_ns = now_ns()
        if record.sent_ns >= limits.deadline_ns:
            record.sent_ns = None
            end(record, Outcome.TIMEOUT, TOO_LATE)
            return
        for left in reversed(range(_MOST_SENDINGS)):
            call, wear = self._call(message)
            if await self._over(record, call, wear, message, limits) or not left:
                return
            record.attempts += 1  # the caller counts the last one
            record.done_ns, record.outcome, record.error = None, Outcome.NEVER_SENT, ""
            self._resent += 1

    async def _over(self, record: RequestRecord, call: Any, wear: Wear, message: bytes, limits: Limits) -> bool:
        """False when it is to be sent again: its stream, which had served others, was ended by a server that went away, with no answer."""
        encoder, renewals = self._target.encoder, self._renewals
        assert record.sent_ns is not None
        patience = Patience(call, limits, record.sent_ns)
        code, text = "", ""
        try:
            code, text = await (
                ask(call, record, encoder) if encoder else _exchange(call, message, record, limits, self._target.accumulates)
            )
        except asyncio.CancelledError:
            if not patience.over:
                call.cancel()
                end(record, Outcome.CANCELLED, "cancelled by the client")
                raise
            patience.forgive()
        finally:
            patience.cancel()
            whole_text(record)
        if record.outcome in ANSWERED:
            if not encoder:
                self._keep(record, call, wear, len(message), renewals)
            return True
        call.cancel()
        if patience.over:
            end(record, patience.outcome, patience.error)
        elif record.done_ns is None:
            end_with_status(record, code, text)
            return not (wear.served and record.outcome is Outcome.CONNECTION and not record.token_ns)
        return True

    def _keep(self, record: RequestRecord, call: Any, wear: Wear, request_bytes: int, renewals: int) -> None:
        """For the next request, unless it has served its time."""
        wear.answered(request_bytes)
        if self._served.replaced_by(record.model_version, record.sent_ns or 0):
            self.renew()
        if renewals == self._renewals and wear.allows(request_bytes, self._requests_per_stream):
            self._idle.append((call, wear))
        else:
            self._close_stream(call)

    async def close(self) -> None:
        for task in (*self._closing, *self._watches):
            task.cancel()
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def _watch(self, channel: Any) -> None:
        """Use no stream again once a connection goes away: grpc.aio keeps the streams of one that a GOAWAY has ended."""
        while True:
            state = channel.get_state()
            await channel.wait_for_state_change(state)
            if state is grpc.ChannelConnectivity.READY:
                self.renew()

    def _close_stream(self, call: Any) -> None:
        """Not by cancelling it, for the reason given in `link.py`."""
        closing = asyncio.ensure_future(ended(call))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _call(self, message: bytes) -> tuple[Any, Wear]:
        """A unary call of an encoder; else the stream used last, while the server keeps it open and it may serve on, or a new one."""
        if self._target.encoder:
            return next(self._callers)(message, metadata=self._metadata), Wear()
        while self._idle:
            call, wear = self._idle.pop()
            if not call.done():
                if wear.allows(len(message), self._requests_per_stream):
                    return call, wear
                self._close_stream(call)
        return next(self._openers)(metadata=self._metadata), Wear()


def request_id(run_id: str, record: RequestRecord) -> str:
    return f"{run_id}-{record.stage}-{'w' if record.warmup else 'm'}{record.index}"


async def _exchange(call: Any, message: bytes, record: RequestRecord, limits: Limits, accumulates: bool) -> tuple[str, str]:
    """Write one message and read until the request is over; the status of a stream that ended before it: (name of the code, details)."""
    try:
        await call.write(message)
        while (received := await call.read()) is not grpc.aio.EOF:
            arrived_ns = now_ns()
            take_response(record, arrived_ns, received, message, accumulates)
            if record.done_ns is None and (planned := limits.tokens_reached(len(record.output_ids) or record.output_tokens)):
                end(record, Outcome.CANCELLED, planned)
            if record.done_ns is not None:
                return "OK", ""
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    except (asyncio.InvalidStateError, grpc.aio.InternalError):  # the stream ended while it was being written to
        pass
    except asyncio.CancelledError:
        if not await ended_by_server(call):
            raise
    return (await call.code()).name, await call.details() or ""
