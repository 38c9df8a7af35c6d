"""The real `vllm serve` on the CPU, with the demo's checkpoint: one server for all tests that only ask it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from trtbench.engine.checkpoint import resolve_checkpoint
from trtbench.engine.spec import BuildLog
from trtbench.engine.vllm_installation import VllmMissing, find_vllm
from trtbench.serving.server.launch import Launch
from trtbench.serving.server.vllm_server import VllmServer

MODEL = "smollm2-135m"
MAX_MODEL_TOKENS = 1024
_LAUNCH = Launch(environment={"VLLM_CPU_OMP_THREADS_BIND": "0"}, ready_timeout_s=500)
"""One core, so that another is left for the client. A start takes 50 s where nothing else runs; tests of marker `vllm` may take 600 s."""


@dataclass(frozen=True)
class RunningVllm:
    """A server that is ready. `url` is its address without a path, `checkpoint` the directory of the model that it serves as `model`."""

    url: str
    model: str
    checkpoint: Path
    pid: int

    @property
    def metrics_url(self) -> str:
        return f"{self.url}/metrics"


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningVllm]:
    """One server for the session. A test that needs it is skipped where no vLLM is installed."""
    try:
        installation = find_vllm()
    except VllmMissing as error:
        pytest.skip(str(error))
    checkpoint = resolve_checkpoint(MODEL, BuildLog(lambda step: None)).path
    flags = ("--served-model-name", MODEL, "--dtype", "bfloat16", "--max-model-len", str(MAX_MODEL_TOKENS))
    cache = ("--kv-cache-memory-bytes", str(1 << 30))
    with VllmServer(installation, checkpoint, tmp_path_factory.mktemp("vllm") / "server.log", (*flags, *cache), launch=_LAUNCH) as server:
        processes = psutil.Process(server.pid).children(recursive=True)
        yield RunningVllm(server.url, MODEL, checkpoint, server.pid)
    assert len(processes) > 1 and not any(map(psutil.Process.is_running, processes)), "the engine core is a process of its own"
