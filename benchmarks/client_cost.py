"""What does a streamed response cost the client? trtbench, a client over grpc.aio and NVIDIA's perf_analyzer against one real Triton.

    python benchmarks/client_cost.py [--perf-analyzer PATH] [--streams 16 64] [--gap-ms 20] [--rounds 3] [--seconds 8]

All take turns on one server that streams the same responses to each, in a closed loop: what the machine does to one it does to all.
`--gap-ms` is the time between two responses of a request; 0: as fast as the server can, which is one request after the other.
trtbench takes a turn with paced reading, one with every read at once, and one with user-space timestamps. grpc.aio's turn is that of an
ordinary client which parses and stamps each response and records nothing (grpc_client.py). Without gaps a bare loop of Python that only
reads (bare_loop.py) takes its turn too: the floor of any client in Python that wakes up for each response. CPU is of the whole client
process, over the part of each turn in which its load was steady. perf_analyzer is no part of trtbench; the wheel `tritonclient==2.44.0`
carries one.

Where other programs keep a client from its processor, arrivals gather by themselves, and a paced client gains little. `chrt -f 5` before
the command gives all clients and the server the processor whenever they want it, as on a machine of their own.

Bounds: paced, at most 0.35 of perf_analyzer's and 0.25 of grpc.aio's; reads with several responses under 0.1 %, the error of the gaps by
kernel timestamps not above that of the unpaced turn, and the requests a second within 0.5 % of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
from bare_loop import bare_cost_us
from grpc_client import grpc_cost_us

from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.target import KserveTarget
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.answer import MODEL
from trtbench.self_test.figures import Accuracy
from trtbench.self_test.servers import calibration_triton
from trtbench.self_test.trial import closed_loop, prompt, run_trial
from trtbench.serving.server.installation import find_tritonserver

RESPONSES = 64  # of one request
PACED, UNPACED, USER = "wire, paced", "wire, every read at once", "wire, user stamps"
CLIENTS = {PACED: ClientSettings(), UNPACED: ClientSettings(read_pause_ms=0), USER: ClientSettings(kernel_stamps=False)}
BOUNDS = ((PACED, "perf_analyzer", 0.35), (PACED, "grpc.aio", 0.25))
OTHERS = ((PACED, UNPACED), (UNPACED, "perf_analyzer"), (UNPACED, "grpc.aio"), ("bare loop", "perf_analyzer"), ("bare loop", "grpc.aio"))
_START_S = 2.0  # perf_analyzer reads its input and opens its streams
_WINDOWS = 3  # perf_analyzer calls a measurement stable after three


@dataclass(frozen=True)
class Turn:
    """What one turn of a trtbench client found: CPU a response, completed requests a second, the gaps' error in us, and its paced reads."""

    cost_us: float
    requests_per_s: float
    gap_error_p50_us: float
    gap_error_p99_us: float
    reads: int
    crowded: int
    end_lag_p99_ms: float


def our_turn(target: KserveTarget, settings: ClientSettings, streams: int, gap_us: int, seconds: float) -> Turn:
    trial = asyncio.run(run_trial(target, settings, closed_loop(streams, (prompt(gap_us, gap_us, RESPONSES),), seconds)))
    assert not trial.failures, trial.failures[0]
    span_ns = max(record.done_ns or 0 for record in trial.records) - min(record.due_ns for record in trial.records)
    gaps = Accuracy.of(trial.completed).stamps.itl_ns
    facts = [trial.facts.get(name) or 0 for name in ("paced_reads", "paced_reads_crowded", "paced_end_lag_p99_ns")]
    cost_us, rate = trial.cpu_s / trial.responses * 1e6, len(trial.completed) / span_ns * 1e9
    return Turn(cost_us, rate, (gaps.p50 or 0) / 1e3, (gaps.p99 or 0) / 1e3, facts[0], facts[1], facts[2] / 1e6)


def perf_analyzer_cost_us(binary: Path, url: str, streams: int, gap_us: int, seconds: float) -> float:
    """Process CPU between two instants of a steady run, per response that its own profile export says came between them."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        row = {"input_ids": {"content": [gap_us, gap_us], "shape": [2]}, "input_lengths": [2], "request_output_len": [RESPONSES]}
        (directory / "input.json").write_text(json.dumps({"data": [row]}))
        command = [str(binary), "-m", MODEL, "-u", url, "-i", "grpc", "--streaming", "--async", f"--concurrency-range={streams}"]
        command += ["-s", "999", "-r", str(_WINDOWS), "-p", str(round((seconds + _START_S) / _WINDOWS * 1000))]
        command += [f"--input-data={directory}/input.json", f"--profile-export-file={directory}/profile.json"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as started:
            process = psutil.Process(started.pid)
            time.sleep(_START_S)
            start_ns, start = time.time_ns(), process.cpu_times()
            time.sleep(seconds - 1)
            end_ns, end = time.time_ns(), process.cpu_times()
        text = (directory / "profile.json").read_text("latin-1")  # it holds raw tensors as text
        (experiment,) = json.loads(text, strict=False)["experiments"]
        arrivals = [instant for request in experiment["requests"] for instant in request["response_timestamps"]]
    responses = sum(start_ns <= instant <= end_ns for instant in arrivals)
    used_s: float = end.user + end.system - start.user - start.system
    cost_us: float = used_s / responses * 1e6
    return cost_us


def report(streams: int, costs: dict[str, list[float]], turns: dict[str, list[Turn]]) -> None:
    """Print the medians of all rounds, and the ratios with their bounds."""
    for name, rounds in costs.items():
        print(f"{streams} streams, {name}: {median(rounds):.1f} us a response (rounds: {', '.join(f'{cost:.1f}' for cost in rounds)})")
    for ours, theirs, bound in (*BOUNDS, *((*pair, None) for pair in OTHERS)):
        if ours in costs and theirs in costs:
            stated = "" if bound is None else f" (bound {bound:.2f})"
            print(f"{streams} streams, {ours} / {theirs}: {median(costs[ours]) / median(costs[theirs]):.3f}{stated}")

    def of(name: str, figure: Callable[[Turn], float]) -> float:
        return median(map(figure, turns[name]))

    reads, crowded = (sum(getattr(turn, name) for turn in turns[PACED]) for name in ("reads", "crowded"))
    print(f"{streams} streams, paced: {reads} reads, with several responses {crowded / max(reads, 1):.4%} (bound 0.1 %)")
    print(f"{streams} streams, paced: ends read later by up to {max(turn.end_lag_p99_ms for turn in turns[PACED])} ms at p99 (bound 1)")
    rates = [of(name, lambda turn: turn.requests_per_s) for name in (PACED, UNPACED)]
    print(f"{streams} streams, requests/s paced / unpaced: {rates[0] / rates[1]:.4f} (bound 1 +- 0.005)")
    for name in (PACED, UNPACED):
        p50, p99 = of(name, lambda turn: turn.gap_error_p50_us), of(name, lambda turn: turn.gap_error_p99_us)
        print(f"{streams} streams, {name}: error of a gap by kernel timestamps {p50:.1f} us p50, {p99:.1f} us p99")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--perf-analyzer", type=Path)
    parser.add_argument("--streams", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--gap-ms", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    arguments = parser.parse_args()
    gap_us, seconds = round(arguments.gap_ms * 1000), arguments.seconds
    with calibration_triton(find_tritonserver()) as server:
        target = inspect_target(server.endpoints.grpc, MODEL)
        for streams in arguments.streams:
            costs: dict[str, list[float]] = {}
            turns: dict[str, list[Turn]] = {}
            for _ in range(arguments.rounds):
                for name, settings in CLIENTS.items():
                    turn = our_turn(target, settings, streams, gap_us, seconds)
                    turns.setdefault(name, []).append(turn)
                    costs.setdefault(name, []).append(turn.cost_us)
                costs.setdefault("grpc.aio", []).append(grpc_cost_us(target, streams, gap_us, RESPONSES, seconds))
                if not gap_us:
                    costs.setdefault("bare loop", []).append(bare_cost_us(target, streams, gap_us, RESPONSES, seconds))
                if binary := arguments.perf_analyzer:
                    costs.setdefault("perf_analyzer", []).append(perf_analyzer_cost_us(binary, target.url, streams, gap_us, seconds))
            report(streams, costs, turns)


if __name__ == "__main__":
    main()
