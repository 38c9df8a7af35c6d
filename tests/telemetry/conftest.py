"""A Triton that is none: the recorded replies over real gRPC and real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import Parse
from tritonclient.grpc import service_pb2

FIXTURES = Path(__file__).parents[1] / "fixtures"


def recorded_statistics() -> Any:
    return Parse((FIXTURES / "statistics_triton_2.51.0.json").read_text(), service_pb2.ModelStatisticsResponse())


class FakeTriton:
    """Answers ModelStatistics of model `demo` and GET /metrics; `connections` counts the page's."""

    def __init__(self) -> None:
        self.page = (FIXTURES / "metrics_triton_2.51.0.txt").read_bytes()
        self.status = 200
        self.connections = 0
        self.answer = threading.Event()  # cleared: the page hangs
        self.answer.set()
        self.count = threading.Event()  # cleared: the statistics hang
        self.count.set()
        self._grpc = grpc.server(ThreadPoolExecutor(8))
        handler = grpc.unary_unary_rpc_method_handler(
            self._statistics,
            request_deserializer=service_pb2.ModelStatisticsRequest.FromString,
            response_serializer=service_pb2.ModelStatisticsResponse.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelStatistics": handler})
        self._grpc.add_generic_rpc_handlers((service,))
        self.grpc_address = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.metrics_url = f"http://127.0.0.1:{self._http.server_port}/metrics"

    def start(self) -> None:
        self._grpc.start()
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.answer.set()
        self.count.set()
        self._grpc.stop(None).wait()
        self._http.shutdown()
        self._http.server_close()

    def _statistics(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.count.wait()
        if request.name != "demo":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"requested model '{request.name}' is not available")
        return recorded_statistics()


def _handler(triton: FakeTriton) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            triton.connections += 1

        def do_GET(self) -> None:
            triton.answer.wait()
            with suppress(ConnectionError):  # whoever asked may have given up
                self.send_response(triton.status)
                self.send_header("Content-Length", str(len(triton.page)))
                self.end_headers()
                self.wfile.write(triton.page)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def fake_triton() -> Iterator[FakeTriton]:
    triton = FakeTriton()
    triton.start()
    yield triton
    triton.stop()
