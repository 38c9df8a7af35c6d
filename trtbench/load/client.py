"""Client: sends one planned request and stamps what comes back."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import grpc.aio

from trtbench.clock import NS_PER_S, now_ns
from trtbench.load.errors import classify
from trtbench.load.messages import NO_END_ID, STREAM_INFER, Response, decode_response, request_body, with_request_id
from trtbench.load.plan import PlannedPrompt
from trtbench.load.target import CHANNEL_OPTIONS, Target
from trtbench.records import Outcome, RequestRecord
from trtbench.scenario import ClientSettings, Workload

_CONNECTIONS = 4
_CONNECT_S = 5.0
_DEFAULTS = ClientSettings()
_LONGEST_ERROR = 500  # characters; a server may put a stack trace into its message


@dataclass(frozen=True)
class Limits:
    """When a request is given up: past its time limit, and where the plan has its user go away."""

    deadline_ns: int
    cancel_after_tokens: int | None = None
    cancel_after_ns: int | None = None  # from its sending


class ConnectError(Exception):
    """The server cannot be reached; the message says where and why."""


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

    def facts(self) -> dict[str, Any]:
        """What the run should know of the transport, plain JSON: its name, where stamps are from, connections, reconnects, faults."""

    async def close(self) -> None: ...


class GrpcClient:
    """KServe v2 over grpc.aio on raw bytes: one bidirectional stream a request in flight, spread over a few connections.

    A stream whose request completed serves the next one. To open one takes client and server about a millisecond, in which an engine
    can begin a step without the request: a closed loop would show it as latency of the server. After any other end the stream is dropped.
    """

    def __init__(self, target: Target, workload: Workload, settings: ClientSettings = _DEFAULTS, end_id: int = NO_END_ID) -> None:
        """`end_id`: the token that ends an output early; NO_END_ID to always generate the asked length. Needs a running event loop."""
        self._target = target
        self._workload = workload
        self._end_id = end_id
        self._channels = [grpc.aio.insecure_channel(target.url, options=CHANNEL_OPTIONS) for _ in range(_CONNECTIONS)]
        self._openers = itertools.cycle([channel.stream_stream(STREAM_INFER) for channel in self._channels])
        self._idle: list[Any] = []
        self._run_id = secrets.token_hex(4)  # TensorRT-LLM looks requests up by id: no two on one server may share one

    async def prepare(self, streams: int) -> None:
        ready = asyncio.gather(*(channel.channel_ready() for channel in self._channels))
        try:
            await asyncio.wait_for(ready, _CONNECT_S)
        except asyncio.TimeoutError as error:  # no OSError before Python 3.11
            raise ConnectError(f"the server at {self._target.url} does not answer") from error

    def encode(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        return request_body(self._target, prompt, self._workload, self._end_id)

    def facts(self) -> dict[str, Any]:
        return {"transport": "grpc", "stamps": "user", "connections": _CONNECTIONS}

    async def send(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        deadline_ns = limits.deadline_ns
        phase = "w" if record.warmup else "m"
        message = with_request_id(body, f"{self._run_id}-{record.stage}-{phase}{record.index}")
        record.sent_ns = now_ns()
        if record.sent_ns >= deadline_ns:
            record.sent_ns = None
            _end(record, Outcome.TIMEOUT, "its time limit had passed before it could be sent")
            return
        call = self._stream()
        deadline = _Deadline(call, (deadline_ns - record.sent_ns) / NS_PER_S)
        code, text = "", ""
        try:
            code, text = await _exchange(call, message, record)
        except asyncio.CancelledError:
            if not deadline.passed:
                call.cancel()
                _end(record, Outcome.CANCELLED, "cancelled by the client")
                raise
        finally:
            deadline.cancel()
        if deadline.passed:
            code, text = "DEADLINE_EXCEEDED", "its time limit has passed"
        if record.outcome is Outcome.COMPLETED:
            self._idle.append(call)
            return
        call.cancel()
        if record.done_ns is None:
            error = text or (f"stream ended with {code}" if code != "OK" else "stream closed without a final response")
            _end(record, classify("" if code == "OK" else code, error), error)

    async def close(self) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels))

    def _stream(self) -> Any:
        """The stream used last, while the server keeps it open; else a new one."""
        while self._idle:
            call = self._idle.pop()
            if not call.done():
                return call
        return next(self._openers)()


class _Deadline:
    """Cancels a call after some seconds; `passed` says that it did."""

    def __init__(self, call: Any, seconds: float) -> None:
        self.passed = False
        self._call = call
        self._timer = asyncio.get_running_loop().call_later(seconds, self._pass)

    def cancel(self) -> None:
        self._timer.cancel()

    def _pass(self) -> None:
        self.passed = True
        self._call.cancel()


async def _exchange(call: Any, message: bytes, record: RequestRecord) -> tuple[str, str]:
    """Write one message and read until the request is over; the status of a stream that ended before it: (name of the code, details)."""
    try:
        await call.write(message)
        while (received := await call.read()) is not grpc.aio.EOF:
            arrived_ns = now_ns()
            _take(record, arrived_ns, received)
            if record.done_ns is not None:
                return "OK", ""
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    except (asyncio.InvalidStateError, grpc.aio.InternalError):  # the stream ended while it was being written to
        pass
    except asyncio.CancelledError:
        if not await _ended_by_server(call):
            raise
    return (await call.code()).name, await call.details() or ""


async def _ended_by_server(call: Any) -> bool:
    """grpc.aio raises CancelledError for a CANCELLED status of the server too."""
    return call.done() and "Locally cancelled" not in (await call.details() or "")


def _take(record: RequestRecord, arrived_ns: int, message: bytes) -> None:
    """Put one message into the record, which has its `done_ns` when the request is over.

    Decoding here costs 10 us a message while nothing waits. Kept for after the last message it would be a millisecond of a busy
    loop just when the user's next request is due.
    """
    try:
        response = decode_response(message)
    except ValueError as error:
        response = Response(error=str(error))
    if response.tokens:
        record.token_ns.append(arrived_ns)
        record.token_counts.append(len(response.tokens))
        record.output_ids += response.tokens
    record.server = response.times or record.server
    record.model_version = response.model_version or record.model_version
    if response.error:
        _end(record, classify("", response.error), response.error, arrived_ns)
    elif response.final:
        _end(record, Outcome.COMPLETED, "", arrived_ns)


def _end(record: RequestRecord, outcome: Outcome, error: str, done_ns: int | None = None) -> None:
    record.outcome, record.error, record.done_ns = outcome, error[:_LONGEST_ERROR], done_ns or now_ns()
