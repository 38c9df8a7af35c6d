"""How punctually does an open loop send? Poisson arrivals against the replay server.

    python benchmarks/send_lag.py [--rate 500] [--seconds 60]

Bounds, on a machine that is otherwise idle: p99 send lag at most 1 ms, max at most 10 ms, sent rate within 0.5 % of the planned one.
"""

from __future__ import annotations

import argparse
import asyncio

from trtbench.calibration.description import MODEL
from trtbench.calibration.measure import measure_send_lag
from trtbench.calibration.replay_process import ReplayProcess
from trtbench.load.target import inspect_target
from trtbench.scenario import ClientSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with ReplayProcess() as server:
        target = inspect_target(server.url, MODEL)
        found = asyncio.run(measure_send_lag(target, ClientSettings(), arguments.rate, arguments.seconds))
    lag = found.send_lag_ns
    p50, p99, most = (figure / 1e6 if figure is not None else float("nan") for figure in (lag.p50, lag.p99, lag.max))
    print(f"{found.requests} requests, {found.failed} failed, client at {found.cores:.0%} of a core")
    print(f"send lag, ms: p50 {p50:.3f}, p99 {p99:.3f} (bound 1), max {most:.3f} (bound 10)")
    print(f"sent rate / planned rate: {found.achieved_ratio:.4f} (bound 1 +- 0.005)")


if __name__ == "__main__":
    main()
