"""How punctually does an open loop send? Poisson arrivals against the replay server.

    python benchmarks/send_lag.py [--rate 500] [--seconds 60]

The replay server is punctual and all but idle: how late it is by its own schedule is the machine's doing, and the client is as late
for the same cause. Bounds, on a machine that is otherwise idle: p99 send lag at most 1 ms, max at most 10 ms, sent rate within 0.5 % of
the planned one.
"""

from __future__ import annotations

import argparse
import asyncio

from trtbench.analysis.stats.percentile import Distribution
from trtbench.client.kserve.inspection import inspect_target
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.answer import MODEL
from trtbench.self_test.calibrator import measure_send_lag
from trtbench.self_test.servers import ReplayProcess


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with ReplayProcess() as server:
        target = inspect_target(server.url, MODEL)
        found = asyncio.run(measure_send_lag(target, ClientSettings(), arguments.rate, arguments.seconds))
    print(f"{found.requests} requests, {found.failed} failed, client at {found.cores:.0%} of a core")
    print(f"send lag, ms: {_spread(found.send_lag_ns)} (bounds: p99 1, max 10)")
    print(f"the server's own lateness, ms: {_spread(found.server_late_ns)}")
    print(f"sent rate / planned rate: {found.achieved_ratio:.4f} (bound 1 +- 0.005)")


def _spread(of_ns: Distribution) -> str:
    return ", ".join(f"{name} {'-' if (ns := getattr(of_ns, name)) is None else f'{ns / 1e6:.3f}'}" for name in ("p50", "p99", "max"))


if __name__ == "__main__":
    main()
