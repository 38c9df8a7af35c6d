"""Stands in for `tritonserver` with TensorRT-LLM's backends: serves the repository that trtbench wrote, as far as can be without a GPU.

It loads what tests/on_gpu/fake_models.py takes, prints the log lines that the backend prints with the engine's own numbers, answers gRPC
streams (tests/support/fakes/fake_triton.py), loads and unloads, and has the backend's metrics page. FAKE_RECORD: directory of notes.
FAKE_MEMORY_MIB: less than the engine needs ends it as CUDA's want of memory does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from tritonclient.grpc import service_pb2

from tests.on_gpu.fake_models import LoadError, Served, load
from tests.on_gpu.fake_pages import loading_log, metrics_page
from tests.on_gpu.fake_requests import ask_for, lengths, tokens_of, too_long
from tests.support.fakes import fake_text
from tests.support.fakes.fake_triton import FakeTriton, _handlers

TTFT_S, ITL_S = 0.02, 0.002


class Backend(FakeTriton):
    """FakeTriton's answers, under the models of a repository."""

    def __init__(self, repository: Path) -> None:
        super().__init__(TTFT_S, ITL_S)
        self.repository = repository
        self.models: dict[str, Served] = {}
        self.input_tokens = self.output_tokens = self.iterations = 0
        self.kv_used = self.kv_reused = self.waiting = 0
        self._kept: set[bytes] = set()  # prompts up to a block's end, whose blocks are kept for reuse

    def start(self, names: list[str]) -> None:
        for name in names or [path.parent.name for path in self.repository.glob("*/config.pbtxt")]:
            try:
                served = self.models[name] = load(self.repository / name)
            except LoadError as error:
                sys.exit(f"failed to load '{name}' version 1: {error}\nerror: creating server: Internal - failed to load all models")
            if served.engine and served.config.backend == "tensorrtllm":
                print(loading_log(served), flush=True)

    @property
    def engine(self) -> Served:
        return next((served for served in self.models.values() if served.config.backend == "tensorrtllm"), next(iter(self.models.values())))

    async def ModelReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=request.name in self.models)

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        answer = service_pb2.RepositoryIndexResponse()
        for name, served in self.models.items():
            answer.models.add(name=name, version=served.version, state="READY")
        return answer

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        if request.name not in self.models:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
        return service_pb2.ModelConfigResponse(config=self.models[request.name].config)

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        """As the C++ backend reports: once a request, in batches of one."""
        answer = service_pb2.ModelStatisticsResponse()
        stats = answer.model_stats.add(name=request.name, version="1", inference_count=self.completed, execution_count=self.completed)
        stats.inference_stats.success.count, stats.inference_stats.fail.count = self.completed, self.cancelled
        stats.batch_stats.add(batch_size=1).compute_infer.count = self.completed
        return answer

    async def _answer(self, request: Any, number: int, context: Any) -> AsyncIterator[Any]:
        served = self.models.get(request.model_name)
        if served is None:
            text = f"Request for unknown model: '{request.model_name}' is not found"
            yield service_pb2.ModelStreamInferResponse(error_message=text)
            return
        prompt, asked = lengths(request)
        if (engine := self.engine.limits) and prompt > self.engine.longest_prompt:
            yield service_pb2.ModelStreamInferResponse(error_message=too_long(number, prompt, self.engine.longest_prompt))
            return
        name, blocks = request.model_name, -(-(prompt + asked) // self.engine.block_tokens)
        await self._admit(blocks)
        self.input_tokens, self.kv_reused = self.input_tokens + prompt, self.kv_reused + self._reused(request)
        request.model_name = {"python": "llmapi"}.get(served.config.backend, name if name in fake_text.MODELS else "tensorrt_llm")
        allowed = asked if not engine else min(asked, int(engine["max_seq_len"]) - prompt)  # what is beyond is cut without a word
        try:
            if allowed < asked:
                ask_for(request, allowed)
            async for answer in super()._answer(request, number, context):
                answer.infer_response.model_name, answer.infer_response.model_version = name, served.version
                self.output_tokens += tokens_of(answer)
                self.iterations += 1
                if request.model_name in fake_text.MODELS:
                    await asyncio.sleep(ITL_S)
                yield answer
        finally:
            self.kv_used -= blocks

    async def _admit(self, blocks: int) -> None:
        """As GUARANTEED_NO_EVICT does: a request waits until it can be brought to its end."""
        self.waiting += 1
        try:
            while self.kv_used + blocks > self.engine.kv_blocks:
                await asyncio.sleep(ITL_S)
            self.kv_used += blocks
        finally:
            self.waiting -= 1

    def _reused(self, request: Any) -> int:
        """Whole blocks at the prompt's head that an earlier one had."""
        if self.engine.parameters.get("enable_kv_cache_reuse") != "true":
            return 0
        names = [tensor.name for tensor in request.inputs]
        ids = request.raw_input_contents[names.index("input_ids")] if "input_ids" in names else b""
        block_bytes = 4 * self.engine.block_tokens
        heads = [ids[:end] for end in range(block_bytes, len(ids) + 1, block_bytes)]
        found = sum(head in self._kept for head in heads)
        self._kept.update(heads)
        return found


class Http(BaseHTTPRequestHandler):
    """Health, repository API and metrics, on both of its ports."""

    backend: Backend
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        if parts == ["metrics"]:
            self._say(200, metrics_page(self.backend), "text/plain")
        elif parts[:2] == ["v2", "models"] and (served := self.backend.models.get(parts[2])) is None:
            self._say(400, json.dumps({"error": f"Request for unknown model: '{parts[2]}' is not found"}))
        elif parts[:2] == ["v2", "models"] and parts[-1] == "config":
            self._say(200, json_format.MessageToJson(served.config, preserving_proto_field_name=True))
        else:
            self._say(200, json.dumps({"name": "triton", "version": "2.59.0"}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = self.path.strip("/").split("/")
        if parts[-1] == "index":
            rows = [{"name": name, "version": served.version, "state": "READY"} for name, served in self.backend.models.items()]
            self._say(200, json.dumps(rows))
            return
        try:
            if parts[-1] == "load":
                self.backend.models[parts[-2]] = load(self.backend.repository / parts[-2])
            else:
                self.backend.models.pop(parts[-2], None)
            self._say(200, "")
        except (LoadError, OSError, ValueError) as error:
            self._say(400, json.dumps({"error": f"load failed for model '{parts[-2]}': version is at UNAVAILABLE state: {error};"}))

    def _say(self, status: int, body: str, kind: str = "application/json") -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


async def serve(backend: Backend, flags: dict[str, str]) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", _handlers(backend)),))
    server.add_insecure_port(f"127.0.0.1:{flags['grpc-port']}")
    await server.start()
    Http.backend = backend
    for port in (flags["metrics-port"], flags["http-port"]):
        threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", int(port)), Http).serve_forever, daemon=True).start()
    await asyncio.sleep(600)  # it never outlives a test run that was killed


def main() -> None:
    words = [argument[2:].partition("=") for argument in sys.argv[1:]]
    flags = {name: value for name, _, value in words}
    if int(os.environ.get("OMPI_COMM_WORLD_RANK", "0")):
        time.sleep(600)  # a rank other than the first only waits
    (Path(os.environ["FAKE_RECORD"]) / "tritonserver.json").write_text(json.dumps(sys.argv[1:]))
    backend = Backend(Path(flags["model-repository"]))
    backend.start([value for name, _, value in words if name == "load-model"])
    needed_mib = max((served.limits.get("max_batch_size", 0) for served in backend.models.values()), default=0) * 16
    if int(os.environ.get("FAKE_MEMORY_MIB", "81920")) < needed_mib:
        log = Path(__file__).parents[1] / "fixtures" / "trtllm_logs" / "out_of_memory_written_by_hand.log"
        sys.exit(log.read_text(encoding="utf-8"))
    asyncio.run(serve(backend, flags))


if __name__ == "__main__":
    main()
