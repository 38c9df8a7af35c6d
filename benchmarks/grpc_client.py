"""The yardstick: an ordinary client over grpc.aio, a stream a request, which parses each response by protobuf and stamps its reading."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from trtbench.client.kserve.messages import request_body
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.protocol import NO_END_ID
from trtbench.scenario.workload.workload import Workload
from trtbench.self_test.trial import prompt

_SETTLE_S = 1.0


@dataclass
class Answer:
    """`code` and `details` are the gRPC status of the stream, `error` the text of a response that is an error."""

    arrivals_ns: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    final: bool = False
    error: str = ""
    code: str = ""
    details: str = ""

    def take(self, response: service_pb2.ModelStreamInferResponse, arrived_ns: int) -> None:
        infer = response.infer_response
        raw = dict(zip((tensor.name for tensor in infer.outputs), infer.raw_output_contents, strict=True)).get("output_ids", b"")
        if raw:
            self.arrivals_ns.append(arrived_ns)
            self.ids.extend(array("i", raw))
        self.final = infer.parameters["triton_final_response"].bool_param
        self.error = response.error_message


async def ask(stub: Any, request: service_pb2.ModelInferRequest) -> Answer:
    """Send one request on a stream of its own and read the stream to its end."""
    answer, call = Answer(), stub.ModelStreamInfer(iter([request]))
    try:
        async for response in call:
            answer.take(response, time.monotonic_ns())
    except (grpc.aio.AioRpcError, asyncio.CancelledError):  # the latter for a CANCELLED status of the server too
        if not call.done():
            raise
    answer.code, answer.details = (await call.code()).name, await call.details() or ""
    return answer


def on_channel(url: str, body: Callable[[Any], Awaitable[Any]]) -> Any:
    """Run `body(stub)` on an event loop of its own."""

    async def main() -> Any:
        async with grpc.aio.insecure_channel(url) as channel:
            return await body(service_pb2_grpc.GRPCInferenceServiceStub(channel))

    return asyncio.run(main())


def grpc_cost_us(target: KserveTarget, streams: int, gap_us: int, responses: int, seconds: float) -> float:
    """CPU us of a process of its own for each response; each user's next request of so many `responses` follows the one before."""
    body = request_body(target, prompt(gap_us, gap_us, responses), Workload(), NO_END_ID)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_cost_us, (target.url, body, streams, responses, seconds))


def _cost_us(url: str, body: bytes, streams: int, responses: int, seconds: float) -> float:
    request, ended, end_s = service_pb2.ModelInferRequest.FromString(body), 0, time.monotonic() + _SETTLE_S + seconds

    async def user(stub: Any) -> None:
        nonlocal ended
        while time.monotonic() < end_s:
            answer = await ask(stub, request)
            assert answer.final and len(answer.arrivals_ns) == responses, answer.error or answer.details
            ended += 1

    async def steady(stub: Any) -> float:
        users = asyncio.gather(*(user(stub) for _ in range(streams)))
        await asyncio.sleep(_SETTLE_S)
        before, began_s = ended, time.process_time()
        await asyncio.sleep(seconds)
        used_s, requests = time.process_time() - began_s, ended - before
        await users
        return used_s / (requests * responses) * 1e6

    return float(on_channel(url, steady))
