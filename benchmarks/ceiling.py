"""How many stream events a second does one client process take on one core?

    python benchmarks/ceiling.py [--seconds 5]

Against the replay server, which writes responses as fast as the sockets take them. Bound: over 100,000 a second.
"""

from __future__ import annotations

import argparse
import asyncio

from trtbench.client.kserve.inspection import inspect_target
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.answer import MODEL
from trtbench.self_test.calibrator import measure_ceiling
from trtbench.self_test.servers import ReplayProcess


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    with ReplayProcess() as server:
        target = inspect_target(server.url, MODEL)
        for kernel_stamps in (True, False):
            found = asyncio.run(measure_ceiling(target, ClientSettings(kernel_stamps=kernel_stamps), arguments.seconds))
            stamps = "kernel" if kernel_stamps else "user-space"
            print(
                f"{stamps} stamps, {found.streams} streams: {found.responses_per_s:,.0f} responses/s at {found.cores:.2f} cores, "
                f"{found.responses_per_cpu_s:,.0f} a CPU second (bound 100,000); {found.failed} requests failed"
            )


if __name__ == "__main__":
    main()
