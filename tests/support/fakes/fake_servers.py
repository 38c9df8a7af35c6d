from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

ROOT = Path(__file__).parents[3]
FAKE = ("-m", "tests.support.fakes.fake_triton")


@dataclass
class FakeServer:
    url: str
    process: subprocess.Popen[str]

    def counts(self) -> tuple[int, int, int]:
        """Requests (completed, cancelled, in flight) as the server sees them."""
        with grpc.insecure_channel(self.url) as channel:
            answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStatistics(service_pb2.ModelStatisticsRequest(), timeout=5)
        stats = answer.model_stats[0].inference_stats
        return stats.success.count, stats.fail.count, stats.queue.count

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def start(ttft_ms: float, itl_ms: float, *flags: str) -> FakeServer:
    command = [sys.executable, *FAKE, "--ttft-ms", str(ttft_ms), "--itl-ms", str(itl_ms), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout
    return FakeServer(f"127.0.0.1:{process.stdout.readline().strip()}", process)


@pytest.fixture(scope="session")
def fake_server() -> Iterator[FakeServer]:
    """One for all tests that only ask: first token after 10 ms, then one every 2 ms."""
    server = start(10, 2)
    yield server
    server.kill()


@pytest.fixture
def start_fake_server() -> Iterator[Callable[..., FakeServer]]:
    """Start one of one's own: (ttft_ms, itl_ms, further flags)."""
    servers: list[FakeServer] = []

    def start_one(ttft_ms: float, itl_ms: float, *flags: str) -> FakeServer:
        servers.append(start(ttft_ms, itl_ms, *flags))
        return servers[-1]

    yield start_one
    for server in servers:
        server.kill()
