"""Does a client that runs long grow?

    python benchmarks/soak.py [--minutes 5] [--streams 64]

Against the replay server, some 4,000 responses a second. Prints the worker's resident memory by tenths of the run, and the growth from
the third tenth to the last per million responses. Bound: none, below what the allocator wobbles (1 MiB).
"""

from __future__ import annotations

import argparse
import asyncio
from statistics import median

from load_workers import WorkerMemory

from trtbench.client.kserve.inspection import inspect_target
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.answer import MODEL
from trtbench.self_test.servers import ReplayProcess
from trtbench.self_test.trial import closed_loop, prompt, run_trial

RATE = 4000
_TENTHS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--streams", type=int, default=64)
    arguments = parser.parse_args()
    gap_us = round(arguments.streams / RATE * 1e6)
    with ReplayProcess() as server, WorkerMemory() as memory:
        target = inspect_target(server.url, MODEL)
        plan = closed_loop(arguments.streams, (prompt(gap_us, gap_us, 16),), arguments.minutes * 60)
        trial = asyncio.run(run_trial(target, ClientSettings(), plan))
    resident = [size for _, size in memory.samples if size]
    tenth = max(len(resident) // _TENTHS, 1)
    by_tenth = [median(resident[start : start + tenth]) / 2**20 for start in range(0, tenth * _TENTHS, tenth)]
    print(f"{trial.responses:,} responses, {len(trial.failures)} requests failed, client at {trial.cores:.2f} cores")
    print(f"resident MiB by tenths of the run: {', '.join(f'{size:.1f}' for size in by_tenth)}")
    print(f"growth from the third tenth to the last: {by_tenth[-1] - by_tenth[2]:.2f} MiB (bound 1)")


if __name__ == "__main__":
    main()
