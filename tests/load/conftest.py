from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.support.fakes.fake_servers import FAKE, ROOT


@pytest.fixture
def start_fake_triton() -> Iterator[Callable[[float, float], tuple[str, subprocess.Popen[str]]]]:
    """Start a fake server process: (ttft_ms, itl_ms) -> (host:port, process)."""
    processes: list[subprocess.Popen[str]] = []

    def start(ttft_ms: float, itl_ms: float) -> tuple[str, subprocess.Popen[str]]:
        command = [sys.executable, *FAKE, "--ttft-ms", str(ttft_ms), "--itl-ms", str(itl_ms)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
        output = processes[-1].stdout
        assert output
        return f"127.0.0.1:{output.readline().strip()}", processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
