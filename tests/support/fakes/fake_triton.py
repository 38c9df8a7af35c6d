"""A fake Triton server of known latency, to be run as a process: `python -m tests.support.fakes.fake_triton --ttft-ms 20 --itl-ms 5`.

It prints its port. The name of the model that is asked decides how it behaves; see MODELS. Its tokens are 100, 101, 102, ...
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
from tritonclient.grpc import model_config_pb2, service_pb2

from tests.support.fakes import fake_text

MODELS = {
    "tensorrt_llm": "answers",
    "green": "answers, as version 2",
    "old": "answers; an older release: no perf metrics, random_seed, no batch dimension",
    "coupled": "is not decoupled",
    "foreign": "has other tensors",
    "unready": "is not ready",
    "stuck": "one token, then nothing",
    "clocked": "answers; the id of a token is when it was sent, in microseconds since the request arrived",
    "flaky": "every third request fails after two tokens",
    "full": "rejects at once",
    "short": "half of the tokens, then final",
    "early_close": "two tokens, then the stream ends well but without a final response",
    "abort": "the stream fails with a status",
    "abort_cancelled": "the stream fails with the status CANCELLED",
    "garbage": "a message that is no protobuf",
    "encoder": "embeds: one answer of 4 values, ragged inputs",
    "encoder_padded": "embeds, with a mask and INT64 ids, batches equal shapes only",
    "encoder_short": "answers with 3 values",
    "encoder_nan": "answers with no number",
    "encoder_empty": "answers with no tensor",
    "encoder_full": "rejects at once",
    "encoder_stuck": "never answers",
    "encoder_garbage": "an answer that is no protobuf",
    "encoder_counts_late": "embeds; its answers are in the statistics 0.4 s after they left",
    "encoder_counts_none": "embeds; its answers are in no statistics",
    **fake_text.MODELS,
}
COUNTED_LATE_S = 0.4
INPUTS = ("input_ids", "input_lengths", "request_output_len", "end_id", "streaming", "exclude_input_in_output")
SAMPLING = ("temperature", "runtime_top_k", "runtime_top_p")


class FakeTriton:
    def __init__(self, ttft_s: float, itl_s: float) -> None:
        self.ttft_s, self.itl_s = ttft_s, itl_s
        self.requests = self.completed = self.cancelled = self.in_flight = 0

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerMetadataResponse(name="fake", version="2.51.0")

    async def ServerReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=request.name in MODELS and request.name != "unready")

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        answer = service_pb2.RepositoryIndexResponse()
        for name in MODELS:
            answer.models.add(name=name, version="1", state="UNAVAILABLE" if name == "unready" else "READY", reason="")
        return answer

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        answer = service_pb2.ModelConfigResponse()
        config, old = answer.config, request.name == "old"
        if request.name.startswith("encoder"):
            _encoder_config(config, request.name)
            return answer
        if request.name in fake_text.MODELS:
            fake_text.configure(config, request.name)
            return answer
        config.name, config.max_batch_size = request.name, 0 if old else 8
        config.model_transaction_policy.decoupled = request.name != "coupled"
        inputs = {"foreign": ("INPUT0",)}.get(request.name)
        for name in inputs or (*INPUTS, *SAMPLING, *(("random_seed",) if old else ("seed", "return_perf_metrics"))):
            config.input.add(name=name)
        for name in ("output_ids", "sequence_length", *(() if old else fake_text.TIMES)):
            config.output.add(name=name)
        return answer

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        """success = completed, in batches of one; fail = cancelled, queue = in flight now."""
        answer = service_pb2.ModelStatisticsResponse()
        model = answer.model_stats.add(name="all", inference_count=self.completed, execution_count=self.completed)
        model.batch_stats.add(batch_size=1).compute_infer.count = self.completed
        stats = model.inference_stats
        stats.success.count, stats.fail.count, stats.queue.count = self.completed, self.cancelled, self.in_flight
        return answer

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """Of an encoder: the embedding is [tokens that count, 1, 2, 3]."""
        self.in_flight += 1
        try:
            return await self._embed(request, context)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1

    async def _embed(self, request: Any, context: Any) -> Any:
        await asyncio.sleep(self.ttft_s)
        model = request.model_name
        if model == "encoder_full":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
        if model == "encoder_stuck":
            await asyncio.Event().wait()
        if model == "encoder_garbage":
            return b"\xff\xff\xff"
        answer = service_pb2.ModelInferResponse(model_name=model, model_version=request.model_version or "1", id=request.id)
        inputs = {tensor.name: (tensor, raw) for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)}
        ids, raw = inputs["input_ids"]
        tokens = np.frombuffer(inputs["attention_mask"][1], np.int64).sum() if "attention_mask" in inputs else len(raw) // 4
        values = np.array([tokens, 1, 2, np.nan if model == "encoder_nan" else ids.shape[-1]], np.float32)
        if model != "encoder_empty":
            values = values[:3] if model == "encoder_short" else values
            answer.outputs.add(name="embedding", datatype="FP32", shape=[1, len(values)])
            answer.raw_output_contents.append(values.tobytes())
        if model == "encoder_counts_late":
            asyncio.get_running_loop().call_later(COUNTED_LATE_S, self._count)
        elif model != "encoder_counts_none":
            self._count()
        return answer

    def _count(self) -> None:
        self.completed += 1

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            self.requests += 1
            self.in_flight += 1
            try:
                async for answer in self._answer(request, self.requests, context):
                    yield answer
                self.completed += 1
                if request.model_name == "early_close":
                    return
            except (asyncio.CancelledError, GeneratorExit):
                self.cancelled += 1
                raise
            finally:
                self.in_flight -= 1

    async def _answer(self, request: Any, number: int, context: Any) -> AsyncIterator[Any]:
        model, arrival_ns = request.model_name, time.monotonic_ns()
        if model in fake_text.MODELS:
            for answer in fake_text.answers(request, arrival_ns):
                yield answer
            return
        inputs = {tensor.name: raw for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)}
        asked = int(np.frombuffer(inputs["request_output_len"], np.int32)[0])
        if model == "full":
            yield service_pb2.ModelStreamInferResponse(error_message=f"[request id: {request.id}] Exceeds maximum queue size")
            return
        if model == "abort":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Request for unknown model: 'abort' is not found")
        if model == "abort_cancelled":
            await context.abort(grpc.StatusCode.CANCELLED, "gone")
        if model == "garbage":
            yield b"\xff\xff\xff"
            return
        tokens = {"stuck": 1, "early_close": 2, "short": asked // 2}.get(model, asked)
        fails_at = 2 if model == "flaky" and number % 3 == 0 else None
        sent_ns: list[int] = []
        if inputs["streaming"] == b"\0":
            await _until(arrival_ns + round((self.ttft_s + tokens * self.itl_s) * 1e9))
            yield _response(request, [100 + index for index in range(tokens)], [arrival_ns, arrival_ns, arrival_ns, time.monotonic_ns()])
            tokens = 0
        for index in range(tokens):
            await _until(arrival_ns + round((self.ttft_s + index * self.itl_s) * 1e9))
            if index == fails_at:
                yield service_pb2.ModelStreamInferResponse(error_message="CUDA error: out of memory")
                return
            sent_ns.append(time.monotonic_ns())
            token = (sent_ns[-1] - arrival_ns) // 1000 if model == "clocked" else 100 + index
            yield _response(request, [token], [arrival_ns, arrival_ns, sent_ns[0], sent_ns[-1]] if index == tokens - 1 else None)
        if model == "stuck":
            await asyncio.Event().wait()
        if model != "early_close":
            yield _response(request, [], None, final=True)


def _encoder_config(config: Any, name: str) -> None:
    config.name, config.max_batch_size = name, 8
    padded = name == "encoder_padded"
    for tensor in ("input_ids", *(("attention_mask",) if padded else ())):
        data_type = model_config_pb2.TYPE_INT64 if padded else model_config_pb2.TYPE_INT32
        config.input.add(name=tensor, data_type=data_type, dims=[-1], allow_ragged_batch=not padded)
    config.output.add(name="embedding", data_type=model_config_pb2.TYPE_FP32, dims=[4])


def _response(request: Any, tokens: list[int], times: list[int] | None, final: bool = False) -> Any:
    answer = service_pb2.ModelStreamInferResponse()
    infer = answer.infer_response
    infer.model_name, infer.id = request.model_name, request.id
    infer.model_version = request.model_version or ("2" if request.model_name == "green" else "1")
    infer.parameters["triton_final_response"].bool_param = final
    tensors: list[tuple[str, str, Any]] = [
        ("output_ids", "INT32", np.array([tokens], np.int32)),
        ("sequence_length", "INT32", np.int32(len(tokens))),
    ]
    asked = {output.name for output in request.outputs}
    tensors += [(name, "INT64", np.int64(value)) for name, value in zip(fake_text.TIMES, times or [], strict=False) if name in asked]
    for name, dtype, data in tensors if tokens else []:
        infer.outputs.add(name=name, datatype=dtype, shape=[1, 1, data.size])
        infer.raw_output_contents.append(data.tobytes())
    return answer


async def _until(instant_ns: int) -> None:
    if (rest_ns := instant_ns - time.monotonic_ns()) > 0:
        await asyncio.sleep(rest_ns / 1e9)


def _raw(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def _handlers(fake: FakeTriton) -> dict[str, Any]:
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(getattr(fake, name), getattr(service_pb2, f"{name}Request").FromString, _raw)
        for name in ("ServerMetadata", "ServerReady", "ModelReady", "RepositoryIndex", "ModelConfig", "ModelStatistics")
    }
    stream = grpc.stream_stream_rpc_method_handler(fake.ModelStreamInfer, service_pb2.ModelInferRequest.FromString, _raw)
    unary = grpc.unary_unary_rpc_method_handler(fake.ModelInfer, service_pb2.ModelInferRequest.FromString, _raw)
    return handlers | {"ModelStreamInfer": stream, "ModelInfer": unary}


def _credentials(tls: list[Path]) -> Any:
    """Of the files [key, certificate], or [key, certificate, the CA that clients' certificates must be of]."""
    key, certificate, *ca = (path.read_bytes() for path in tls)
    return grpc.ssl_server_credentials([(key, certificate)], ca[0] if ca else None, bool(ca))


async def main(ttft_ms: float, itl_ms: float, life_s: float, tls: list[Path], connection_age_ms: int) -> None:
    ages = {"grpc.max_connection_age_ms": connection_age_ms, "grpc.max_connection_age_grace_ms": 50} if connection_age_ms else {}
    server = grpc.aio.server(options=tuple(ages.items()))
    handlers = _handlers(FakeTriton(ttft_ms / 1e3, itl_ms / 1e3))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),))
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, _credentials(tls)) if tls else server.add_insecure_port(address)
    await server.start()
    print(port, flush=True)
    await asyncio.sleep(life_s)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it never outlives a test run that was killed
    parser = argparse.ArgumentParser()
    parser.add_argument("--ttft-ms", type=float, default=10)
    parser.add_argument("--itl-ms", type=float, default=2)
    parser.add_argument("--life-s", type=float, default=3600)
    parser.add_argument("--connection-age-ms", type=int, default=0, help="after which a connection is told to go away; 0: never")
    parser.add_argument("--tls", type=Path, nargs="*", default=[], help="key, certificate, and for mutual TLS the clients' CA")
    asyncio.run(main(**vars(parser.parse_args())))
