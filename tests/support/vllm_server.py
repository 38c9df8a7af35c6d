"""The real `vllm serve` on the CPU, with the demo's checkpoint: one server for all tests that only ask it."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from trtbench.engine.checkpoint import resolve_checkpoint
from trtbench.engine.spec import BuildLog
from trtbench.serving.server.server import LOOPBACK, free_ports
from trtbench.system.supervised import Supervised

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".venv-vllm" / "bin" / "vllm"
MODEL = "smollm2-135m"
MAX_MODEL_TOKENS = 1024
_READY_S = 400
"""50 s on a machine that does nothing else; the limit of a test of marker `vllm`, 600 s, is longer (tests/support/tiers.py)."""
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "0",  # one core, so that another is left for the client
}


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
    """One server for the session. A test that needs it is skipped where `scripts/setup_vllm.sh` has not made .venv-vllm."""
    if not PROGRAM.is_file():
        pytest.skip(f"no {PROGRAM.relative_to(ROOT)}: scripts/setup_vllm.sh makes it")
    with running_vllm(tmp_path_factory.mktemp("vllm") / "server.log") as server:
        processes = psutil.Process(server.pid).children(recursive=True)
        yield server
    assert len(processes) > 1 and not any(map(psutil.Process.is_running, processes)), "the engine core is a process of its own"


@contextmanager
def running_vllm(log: Path, *flags: str) -> Iterator[RunningVllm]:
    """A server of its own, which ends with the block, and with this process however that ends."""
    checkpoint = resolve_checkpoint(MODEL, BuildLog(lambda step: None)).path
    (port,) = free_ports(1)
    command = [
        *(str(PROGRAM), "serve", str(checkpoint), "--served-model-name", MODEL, "--host", LOOPBACK, "--port", str(port)),
        *("--dtype", "bfloat16", "--max-model-len", str(MAX_MODEL_TOKENS), "--enforce-eager", *flags),
    ]
    process = Supervised(command, log, os.environ | _ENVIRONMENT)
    try:
        url = f"http://{LOOPBACK}:{port}"
        _wait_ready(process, url, log)
        yield RunningVllm(url, MODEL, checkpoint, process.pid)
    finally:
        process.stop()


def _wait_ready(process: Supervised, url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        if process.exit_code() is not None:
            break
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)
    last_lines = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    pytest.fail(f"vllm serve did not become ready (exit code {process.exit_code()}):\n{last_lines}")
