"""The sampler's own process: `python -m trtbench.telemetry CONFIG_JSON SAMPLES_JSONL`, started by `sampler.Sampler`.

It says READY, reads every source until stdin closes or SIGTERM comes, and prints the tallies of the sources as one line of JSON.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from trtbench.rundir import LineWriter
from trtbench.system.clock import NS_PER_S, now_ns, seconds_ns
from trtbench.telemetry.process import Machine, Processes
from trtbench.telemetry.sampler import READY, SamplerConfig, triton_sources
from trtbench.telemetry.ticker import Source, Ticker

_ANSWER_TIMEOUT_S = 1.0
"""Of a question to Triton: a busy server answers late, and a late answer is worth more than none; a few ticks are skipped for it."""

_LAST_READING_S = 2.0  # longest wait for readings under way at the end; less than the parent waits


def main(config_json: str, samples_jsonl: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = SamplerConfig.from_json(config_json)
    stop = threading.Event()
    writer = LineWriter(Path(samples_jsonl))
    start_ns = now_ns()
    tickers = [Ticker(name, source, writer, start_ns, interval_ns, stop) for name, source, interval_ns in _sources(config)]
    for ticker in tickers:
        ticker.start()
    print(READY, flush=True)
    _wait_until_told()
    stop.set()
    end_ns = now_ns() + seconds_ns(_LAST_READING_S)
    for ticker in tickers:
        ticker.join(max(0, end_ns - now_ns()) / NS_PER_S)
    print(json.dumps({ticker.name: asdict(ticker.tally) for ticker in tickers}), flush=True)
    os._exit(0)  # a source that hangs, in a driver or a socket, must not hold up the end


def _sources(config: SamplerConfig) -> list[tuple[str, Callable[[], Source], int]]:
    """Name, how to open it, ns between readings."""
    sources = triton_sources(config, _ANSWER_TIMEOUT_S)
    sources["processes"] = lambda: Processes(config.server_pids, config.client_pid, os.getpid(), config.balancer_pid)
    sources["machine"] = Machine
    ticking = [(name, source, config.interval_ns) for name, source in sources.items()]
    return ticking + (_gpu_sources(config) if config.gpu else [])


def _gpu_sources(config: SamplerConfig) -> list[tuple[str, Callable[[], Source], int]]:
    from trtbench.gpu.nvml import describe
    from trtbench.telemetry import nvml  # not before a GPU is to be read

    slow_ns = max(config.interval_ns, NS_PER_S)
    found: list[tuple[str, Callable[[], Source], int]] = [("gpu", nvml.Gpus, config.interval_ns)]
    if describe():
        found.append(("gpu_users", lambda: nvml.GpuUsers(config.server_pids, config.client_pid), slow_ns))
        found.append(("gpu_errors", nvml.GpuErrors, slow_ns))
    return found


def _wait_until_told() -> None:
    """Until stdin closes, which the parent's death does too, or SIGTERM."""
    told, tell = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(tell, b"!"))
    select.select([sys.stdin, told], [], [])


if __name__ == "__main__":
    main(*sys.argv[1:])
