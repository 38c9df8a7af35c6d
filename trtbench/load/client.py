"""Client: sends one planned request and stamps what comes back. Here over grpc.aio; `wire_client.py` has our own transport."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import grpc.aio

from trtbench.clock import NS_PER_S, now_ns
from trtbench.load.addressed import Addressed
from trtbench.load.channel import open_channel
from trtbench.load.embedding import MODEL_INFER
from trtbench.load.errors import ANSWERED, end, end_with_status
from trtbench.load.event_loop import loop_name
from trtbench.load.greeting import explain
from trtbench.load.grpc_calls import ask, ended, ended_by_server
from trtbench.load.messages import NO_END_ID, STREAM_INFER, request_body, with_request_id
from trtbench.load.plan import PlannedPrompt
from trtbench.load.served_version import ServedVersion
from trtbench.load.take import take_response, whole_text
from trtbench.load.target import Target
from trtbench.records import Outcome, RequestRecord
from trtbench.scenario import ClientSettings, Workload, metadata_of

_CONNECTIONS = 4
_CONNECT_S = 5.0
_DEFAULTS = ClientSettings()
TOO_LATE = "its time limit had passed before it could be sent"


@dataclass(frozen=True)
class Limits:
    """When a request is given up: past its time limit, and where the plan has its user go away."""

    deadline_ns: int
    cancel_after_tokens: int | None = None
    cancel_after_ns: int | None = None  # from its sending

    def end_of_patience(self, sent_ns: int) -> tuple[int, Outcome, str]:
        """(instant, outcome, error) of the first limit that time alone reaches."""
        if self.cancel_after_ns is not None and sent_ns + self.cancel_after_ns < self.deadline_ns:
            return sent_ns + self.cancel_after_ns, Outcome.CANCELLED, f"planned: after {self.cancel_after_ns / NS_PER_S:g} s"
        return self.deadline_ns, Outcome.TIMEOUT, "its time limit has passed"

    def tokens_reached(self, tokens: int) -> str:
        """The error of a request that the plan cancels after as many tokens as have come; "" while it goes on."""
        asked = self.cancel_after_tokens
        return f"planned: after {asked} tokens" if asked is not None and tokens >= asked else ""


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
        self._idle: list[Any] = []
        self._closing: set[asyncio.Future[None]] = set()
        self._renewals = 0
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
        }

    async def switch(self, model: str) -> None:
        await self._addressed.switch(model)

    def renew(self) -> None:
        self._renewals += 1
        for call in self._idle:
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
        encoder = self._target.encoder
        call = next(self._callers)(message, metadata=self._metadata) if encoder else self._stream()
        renewals = self._renewals
        patience = _Patience(call, limits, record.sent_ns)
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
            if encoder:
                return
            if self._served.replaced_by(record.model_version, record.sent_ns or 0):
                self.renew()
            if renewals == self._renewals:
                self._idle.append(call)
            else:
                self._close_stream(call)
            return
        call.cancel()
        if patience.over:
            end(record, patience.outcome, patience.error)
        elif record.done_ns is None:
            end_with_status(record, code, text)

    async def close(self) -> None:
        for closing in self._closing:
            closing.cancel()
        await asyncio.gather(*(channel.close() for channel in self._channels))

    def _close_stream(self, call: Any) -> None:
        """Not by cancelling it, for the reason given in `link.py`."""
        closing = asyncio.ensure_future(ended(call))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _stream(self) -> Any:
        """The stream used last, while the server keeps it open; else a new one."""
        while self._idle:
            call = self._idle.pop()
            if not call.done():
                return call
        return next(self._openers)(metadata=self._metadata)


class _Patience:
    """Cancels the running task's call at the first limit of time; `over` says that it did."""

    def __init__(self, call: Any, limits: Limits, sent_ns: int) -> None:
        self.over = False
        self._call, self._task = call, asyncio.current_task()
        until_ns, self.outcome, self.error = limits.end_of_patience(sent_ns)
        self._timer = asyncio.get_running_loop().call_later((until_ns - sent_ns) / NS_PER_S, self._end)

    def cancel(self) -> None:
        self._timer.cancel()

    def forgive(self) -> None:
        """The task goes on as if it had never been cancelled."""
        if sys.version_info >= (3, 11) and self._task:
            self._task.uncancel()

    def _end(self) -> None:
        self.over = True
        self._call.cancel()
        if self._task:  # one that waits for a call that has not begun to be sent is told nothing by grpc.aio
            self._task.cancel()


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
