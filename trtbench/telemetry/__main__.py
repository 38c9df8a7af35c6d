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
from dataclasses import asdict
from functools import partial
from pathlib import Path

from trtbench.rundir.lines import LineWriter
from trtbench.system.clock import NS_PER_S, now_ns, seconds_ns
from trtbench.telemetry.sampler import READY
from trtbench.telemetry.sources import SamplerConfig, applicable
from trtbench.telemetry.ticker import Ticker

_ANSWER_TIMEOUT_S = 1.0
"""Longest wait for an answer of Triton. A busy server answers late; its late answer is kept and the ticks that passed are skipped."""

_LAST_READING_S = 2.0  # longest wait for readings under way at the end; less than the parent waits


def main(config_json: str, samples_jsonl: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = SamplerConfig.from_json(config_json)
    stop = threading.Event()
    writer = LineWriter(Path(samples_jsonl))
    start_ns = now_ns()
    tickers = [
        Ticker(name, partial(entry.open, config, _ANSWER_TIMEOUT_S), writer, start_ns, entry.interval_ns(config), stop)
        for name, entry in applicable(config).items()
    ]
    for ticker in tickers:
        ticker.start()
    print(READY, flush=True)
    _wait_for_the_end()
    stop.set()
    end_ns = now_ns() + seconds_ns(_LAST_READING_S)
    for ticker in tickers:
        ticker.join(max(0, end_ns - now_ns()) / NS_PER_S)
    print(json.dumps({ticker.name: asdict(ticker.tally) for ticker in tickers}), flush=True)
    os._exit(0)  # a source that hangs, in a driver or a socket, must not delay the end


def _wait_for_the_end() -> None:
    """Return when stdin closes, which the death of the parent causes too, or at SIGTERM."""
    readable, writable = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(writable, b"!"))
    select.select([sys.stdin, readable], [], [])


if __name__ == "__main__":
    main(*sys.argv[1:])
