"""What does sampling the GPUs cost? The sources of telemetry/nvml.py at 100 ms, as share of one core.

    python benchmarks/gpu_sampler.py [--seconds 20] [--interval-ms 100] [--real]

By default against the fake driver of the tests, two GPUs: the cost of trtbench's and pynvml's code, without the driver's. With --real
on this machine's GPUs: what a run pays there.

Bound: 1 % of a core at 100 ms.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

FAKE = Path(__file__).parents[1] / "tests" / "fixtures" / "fake_nvml" / "nvml.c"
BOUND = 0.01


def measure(seconds: float, interval_s: float) -> None:
    from trtbench.rundir.lines import LineWriter
    from trtbench.system.clock import now_ns, seconds_ns
    from trtbench.telemetry.nvml import GpuErrors, Gpus, GpuUsers
    from trtbench.telemetry.ticker import Source, Ticker

    with tempfile.TemporaryDirectory() as directory:
        writer, stop = LineWriter(Path(directory) / "samples.jsonl"), threading.Event()
        slow_s = max(interval_s, 1.0)
        sources: dict[str, tuple[Callable[[], Source], float]] = {
            "gpu": (Gpus, interval_s),
            "gpu_users": (lambda: GpuUsers((), os.getpid()), slow_s),
            "gpu_errors": (GpuErrors, slow_s),
        }
        start_ns = now_ns() + seconds_ns(0.5)
        tickers = [Ticker(name, source, writer, start_ns, seconds_ns(every), stop) for name, (source, every) in sources.items()]
        for ticker in tickers:
            ticker.start()
        time.sleep(1.5)  # the sources are open
        before, began = time.process_time(), time.monotonic()
        time.sleep(seconds)
        share = (time.process_time() - before) / (time.monotonic() - began)
        stop.set()
        for ticker in tickers:
            ticker.join(5)
            tally = ticker.tally
            counts = f"{tally.readings} readings, {tally.failures} failed, {tally.skipped} skipped"
            print(f"{ticker.name:10} {counts}  {tally.last_error or tally.note}")
    print(f"{share:.2%} of a core at {interval_s * 1000:g} ms (bound {BOUND:.0%}): {'within' if share <= BOUND else 'over'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--interval-ms", type=float, default=100.0)
    parser.add_argument("--real", action="store_true", help="This machine's GPUs.")
    asked = parser.parse_args()
    if asked.real or os.environ.get("GPU_SAMPLER_FAKE"):
        measure(asked.seconds, asked.interval_ms / 1000)
        return
    with tempfile.TemporaryDirectory() as directory:  # the loader reads LD_LIBRARY_PATH when a process starts
        subprocess.run(["cc", "-shared", "-fPIC", "-o", f"{directory}/libnvidia-ml.so.1", str(FAKE)], check=True)
        environment = os.environ | {"LD_LIBRARY_PATH": directory, "GPU_SAMPLER_FAKE": "1"}
        raise SystemExit(subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
