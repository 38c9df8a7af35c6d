"""How many streams at once, and what does each cost in memory?

    python benchmarks/scale.py [--streams 2000] [--workers 1] [--tokens 16] [--gap-ms 1000]

Against the replay server, one request a stream, all at once. Memory is the workers' resident peak less that of as many workers with one
stream each, by the number of streams. Bounds: 2,000 streams in one process and 10,000 over four without an error of ours, 20 KiB a
stream and 16 bytes a token. The limit of open files must allow a connection a stream, in each worker and in the server (`ulimit -n`).
"""

from __future__ import annotations

import argparse
import asyncio

from load_workers import WorkerMemory

from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.target import KserveTarget
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.answer import MODEL
from trtbench.self_test.servers import ReplayProcess
from trtbench.self_test.trial import Trial, one_request_each, prompt, run_trial

_KIB = 1024
_FIRST_US = 3_000_000  # everything is in flight before the first response


def peak(target: KserveTarget, streams: int, workers: int, tokens: int, gap_us: int) -> tuple[Trial, int]:
    plan = one_request_each(streams, prompt(_FIRST_US, gap_us, tokens))
    with WorkerMemory() as memory:
        trial = asyncio.run(run_trial(target, ClientSettings(workers=workers), plan))
    return trial, memory.peak_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--gap-ms", type=float, default=1000)
    arguments = parser.parse_args()
    streams, workers, tokens = arguments.streams, arguments.workers, arguments.tokens
    with ReplayProcess() as server:
        target = inspect_target(server.url, MODEL)
        _, idle_bytes = peak(target, workers, workers, 1, 0)
        trial, bytes_in_use = peak(target, streams, workers, tokens, round(arguments.gap_ms * 1000))
    stream_bytes = (bytes_in_use - idle_bytes) / streams
    print(f"{len(trial.records)} requests on {streams} streams over {workers} workers: {len(trial.failures)} failed (bound 0)")
    for record in trial.failures[:3]:
        print(f"  {record.outcome.value}: {record.error}")
    print(f"client: {trial.cores:.2f} cores, {trial.responses / trial.duration_s:,.0f} responses/s; {trial.facts}")
    bound = 20 * _KIB + 16 * tokens
    print(f"memory: {stream_bytes / _KIB:.1f} KiB a stream in flight of {tokens} responses (bound {bound / _KIB:.1f})")


if __name__ == "__main__":
    main()
