"""Speaks KServe v2 to a Triton the plain way: a gRPC stream a request, every response kept as it came.

Independent of trtbench.load on purpose: what the server does is not to be judged by the client under test.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.grpc import service_pb2, service_pb2_grpc

from trtbench.engine.spec import Engine
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.serving.server.server import TritonServer

TIMES = ("arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns")
_DTYPES = {
    "input_ids": "INT32",
    "input_lengths": "INT32",
    "request_output_len": "INT32",
    "max_tokens": "INT32",
    "min_tokens": "INT32",
    "end_id": "INT32",
    "runtime_top_k": "INT32",
    "text_input": "UINT8",
    "ignore_eos": "BOOL",
    "streaming": "BOOL",
    "exclude_input_in_output": "BOOL",
    "return_perf_metrics": "BOOL",
    "temperature": "FP32",
    "runtime_top_p": "FP32",
    "repetition_penalty": "FP32",
    "seed": "UINT64",
}
_NUMPY = {"INT32": "<i4", "UINT8": "u1", "BOOL": "?", "FP32": "<f4", "UINT64": "<u8"}


@dataclass(frozen=True)
class Serving:
    """A running server, what it serves, and where it is asked."""

    server: TritonServer
    engine: Engine
    deployment: Deployment

    @property
    def url(self) -> str:
        return self.server.endpoints.grpc

    @property
    def metrics_url(self) -> str:
        return f"http://{self.server.endpoints.metrics}/metrics"


@dataclass
class Part:
    """One response: its arrival on this machine's monotonic clock, and what it carried."""

    at_ns: int
    ids: list[int]
    final: bool
    times: dict[str, int]


@dataclass
class Answer:
    """A whole stream. `error` is the message of an error response, or of the stream's own status."""

    sent_ns: int
    parts: list[Part] = field(default_factory=list)
    error: str = ""
    done_ns: int = 0

    @property
    def ids(self) -> list[int]:
        return [token for part in self.parts for token in part.ids]


def request(model: str, priority: int = 0, **tensors: Any) -> Any:
    """A ModelInferRequest; tensors are named as the model names them, shaped [1, n]."""
    message = service_pb2.ModelInferRequest(model_name=model)
    message.parameters["triton_enable_empty_final_response"].bool_param = True
    if priority:
        message.parameters["priority"].uint64_param = priority
    for name, value in tensors.items():
        datatype = _DTYPES[name]
        data = np.frombuffer(value.encode(), np.uint8) if isinstance(value, str) else np.atleast_1d(np.asarray(value, _NUMPY[datatype]))
        message.inputs.add(name=name, datatype=datatype, shape=[1, data.size])
        message.raw_input_contents.append(data.tobytes())
    return message


class Stream:
    """One request under way; `cancel()` is a client that goes away."""

    def __init__(self, url: str, message: Any, timeout_s: float = 60) -> None:
        self._channel = grpc.insecure_channel(url, options=(("grpc.use_local_subchannel_pool", 1),))
        self._leave_open = threading.Event()
        self.answer = Answer(time.monotonic_ns())
        self.call = service_pb2_grpc.GRPCInferenceServiceStub(self._channel).ModelStreamInfer(iter([message]), timeout=timeout_s)

    def read(self, parts: int | None = None) -> Answer:
        """Read to the end, or until there are so many responses."""
        try:
            for response in self.call:
                self._take(time.monotonic_ns(), response)
                if len(self.answer.parts) == parts:
                    return self.answer
        except grpc.RpcError as error:
            self.answer.error = f"{error.code().name}: {error.details()}"
        self.answer.done_ns = time.monotonic_ns()
        self._channel.close()
        return self.answer

    def cancel(self) -> None:
        self.call.cancel()
        self._channel.close()

    def _take(self, at_ns: int, response: Any) -> None:
        if response.error_message:
            self.answer.error = response.error_message
            return
        infer = response.infer_response
        tensors = {tensor.name: raw for tensor, raw in zip(infer.outputs, infer.raw_output_contents, strict=True)}
        ids = np.frombuffer(tensors.get("output_ids", b""), "<i4").tolist()
        if tensors:
            assert np.frombuffer(tensors["sequence_length"], "<i4").tolist() == [len(ids)]
        times = {name: int(np.frombuffer(tensors[name], "<i8")[0]) for name in TIMES if name in tensors}
        self.answer.parts.append(Part(at_ns, ids, infer.parameters["triton_final_response"].bool_param, times))


def ask(url: str, model: str, **tensors: Any) -> Answer:
    """Send one request and read it to its end."""
    return Stream(url, request(model, **tensors)).read()


def ask_all(url: str, model: str, requests: list[dict[str, Any]]) -> list[Answer]:
    """Send them all at once; answers in the same order."""
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(lambda tensors: ask(url, model, **tensors), requests))


def gauges(metrics_url: str, family: str, label: str, model: str) -> dict[str, float]:
    """One family of the server's /metrics page for one model: {label value: value}."""
    return {sample.labels[label]: sample.value for sample in page(metrics_url).get(family, []) if sample.labels["model"] == model}


def page(metrics_url: str) -> dict[str, list[Any]]:
    with urllib.request.urlopen(metrics_url, timeout=5) as reply:
        text = reply.read().decode()
    return {family.name: family.samples for family in text_string_to_metric_families(text)}


def batch_counts(url: str, model: str) -> dict[int, int]:
    """Executions by batch size, from Triton's statistics."""
    with grpc.insecure_channel(url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        stats = stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name=model), timeout=5).model_stats[0]
    return {batch.batch_size: batch.compute_infer.count for batch in stats.batch_stats}
