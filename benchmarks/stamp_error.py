"""How true are stamps while the client has no CPU to spare?

    python benchmarks/stamp_error.py [--seconds 20] [--probes 16] [--read-pause-ms auto 0]

One client process, two replay servers: from one it takes probe streams whose every response says when it was sent; from the other, as
many responses as it can, so that it never idles. Prints the error of the probes' gaps (ITL) by kernel stamps and, of the same responses,
by user-space stamps. Bound, with kernel stamps: below 100 us at p99. The probes' own gap is above the client's lag, so that no read holds
two of a stream.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.protocol import NO_END_ID, Target
from trtbench.client.registry import client_to
from trtbench.load.attempts import Attempts, StopSignal
from trtbench.load.deadline_timer import DeadlineTimer
from trtbench.load.generator import Generator
from trtbench.load.share import Share
from trtbench.load.tally import LoadProgress, Recorder
from trtbench.plan.plan import Plan
from trtbench.rundir.lines import read_lines
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.self_test.answer import MODEL
from trtbench.self_test.figures import Accuracy, Pair
from trtbench.self_test.servers import ReplayProcess
from trtbench.self_test.stamp import Integers
from trtbench.self_test.trial import closed_loop, prompt
from trtbench.system.clock import cpu_ns, now_ns
from trtbench.system.event_loop import new_loop, no_collections

GAP_US = 50_000
LOAD_STREAMS = 4
LOAD_RESPONSES = 1000
_TIMEOUT_S = 60.0
_DEFAULTS = ClientSettings()


async def run_trial(target: Target, plan: Plan, path: Path, settings: ClientSettings) -> None:
    client, timer = client_to(target, Workload(), settings, NO_END_ID), DeadlineTimer()
    with closing(Recorder(path)) as recorder, closing(timer):
        generator = Generator(Attempts(client, _TIMEOUT_S), recorder, LoadProgress(), timer, _TIMEOUT_S)
        run = await generator.prepare_phase(plan.stages[0].measured, Share(), StopSignal())
        await run.run_phase(now_ns())
    await client.close()


async def measure(
    probe: Target, load: Target, probes: int, seconds: float, directory: Path, settings: ClientSettings
) -> tuple[list[RequestRecord], float]:
    """Records of the probes; the process's CPU while they ran, in cores."""
    loading = asyncio.create_task(
        run_trial(load, closed_loop(LOAD_STREAMS, (prompt(0, 0, LOAD_RESPONSES),), seconds + 1), directory / "load.jsonl", settings)
    )
    await asyncio.sleep(0.5)
    start_ns, used_ns = now_ns(), cpu_ns()
    await run_trial(probe, closed_loop(probes, (prompt(GAP_US, GAP_US, 20),), seconds - 1), directory / "probes.jsonl", settings)
    cores = (cpu_ns() - used_ns) / (now_ns() - start_ns)
    await loading
    return [RequestRecord.from_json(row) for row in read_lines(directory / "probes.jsonl")], cores


def run_beside(
    probe: Target, load: Target, probes: int, seconds: float, settings: ClientSettings = _DEFAULTS
) -> tuple[list[RequestRecord], float]:
    """`measure` on an event loop of its own, without garbage collections."""
    loop = new_loop()
    with tempfile.TemporaryDirectory() as name, no_collections():
        found = loop.run_until_complete(measure(probe, load, probes, seconds, Path(name), settings))
    loop.close()
    return found


def report_errors(records: list[RequestRecord], cores: float) -> None:
    completed = [record for record in records if record.outcome is Outcome.COMPLETED]
    found = Accuracy.of(completed)
    print(f"{len(records)} probes, {len(records) - len(completed)} failed, client at {cores:.0%} of a core (must be about 100 % or more)")
    for name, errors in (("kernel", found.stamps), ("user-space", found.user)):
        if errors:
            p50, p99, most = (
                figure / 1e3 if figure is not None else float("nan") for figure in (errors.itl_ns.p50, errors.itl_ns.p99, errors.itl_ns.max)
            )
            bound = " (bound 100)" if name == "kernel" else ""
            print(f"ITL error by {name} stamps, us: p50 {p50:.1f}, p99 {p99:.1f}{bound}, max {most:.1f}")
    alone_us = np.concatenate([errors_alone_ns(record) for record in completed]) / 1e3
    p50, p99 = np.percentile(alone_us, (50, 99))
    print(f"the same of those read alone, by kernel stamps: p50 {p50:.1f}, p99 {p99:.1f} (bound 100), max {alone_us.max():.1f}")
    print(f"read together with others: {found.coalesced_ratio:.2%}")


def errors_alone_ns(record: RequestRecord) -> Integers:
    """The errors of the gaps between two responses that were each read alone, as their records say."""
    pair = Pair.of(record)
    alone = np.ones(len(pair.sent_ns), bool)
    alone[record.coalesced] = False
    errors: Integers = np.abs(np.diff(pair.arrival_ns - pair.sent_ns))[alone[1:] & alone[:-1]]
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--probes", type=int, default=16)
    parser.add_argument("--read-pause-ms", nargs="+", default=["auto", "0"], help="one run each")
    arguments = parser.parse_args()
    with ReplayProcess() as probe_server, ReplayProcess() as load_server:
        probe, load = (inspect_target(server.url, MODEL) for server in (probe_server, load_server))
        for pause in arguments.read_pause_ms:
            print(f"client.read_pause_ms: {pause}")
            settings = ClientSettings(read_pause_ms=pause if pause == "auto" else float(pause))
            report_errors(*run_beside(probe, load, arguments.probes, arguments.seconds, settings))


if __name__ == "__main__":
    main()
