"""What does a streamed response cost the client? trtbench, a client over grpc.aio and NVIDIA's perf_analyzer against one real Triton.

    python benchmarks/client_cost.py [--perf-analyzer PATH] [--streams 16 64] [--rate 2000] [--rounds 3] [--seconds 8]

All take turns on one server that streams the same responses to each, without a rate as fast as it can: what the machine does to one it
does to all. grpc.aio's turn is that of an ordinary client which parses and stamps each response and records nothing (grpc_client.py).
A bare loop of Python that only reads (bare_loop.py) takes its turn too: the floor of any client in Python. CPU is of the whole client
process, over the part of each turn in which its load was steady. perf_analyzer is no part of trtbench; the wheel
`tritonclient==2.44.0` carries one.

Bounds: trtbench at most 1/2 of perf_analyzer's with the kernel's stamps, 1/3 without, and 1/4 of grpc.aio's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil
from bare_loop import bare_cost_us
from grpc_client import grpc_cost_us

from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.target import KserveTarget
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.answer import MODEL
from trtbench.self_test.servers import calibration_triton
from trtbench.self_test.trial import closed_loop, prompt, run_trial
from trtbench.serving.server.installation import find_tritonserver

RESPONSES = 64  # of one request
CLIENTS = {
    "wire, kernel stamps": ClientSettings(),
    "wire, user stamps": ClientSettings(kernel_stamps=False),
}
BOUNDS = (
    ("wire, kernel stamps", "perf_analyzer", 1 / 2),
    ("wire, user stamps", "perf_analyzer", 1 / 3),
    ("wire, kernel stamps", "grpc.aio", 1 / 4),
    ("wire, user stamps", "grpc.aio", 1 / 4),
    ("bare loop", "perf_analyzer", 1 / 3),
    ("bare loop", "grpc.aio", 1 / 4),
)
_START_S = 2.0  # perf_analyzer reads its input and opens its streams
_WINDOWS = 3  # perf_analyzer calls a measurement stable after three


def our_cost_us(target: KserveTarget, settings: ClientSettings, streams: int, gap_us: int, seconds: float) -> float:
    trial = asyncio.run(run_trial(target, settings, closed_loop(streams, (prompt(gap_us, gap_us, RESPONSES),), seconds)))
    assert not trial.failures, trial.failures[0]
    return trial.cpu_s / trial.responses * 1e6


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
    responses: int = sum(start_ns <= instant <= end_ns for instant in arrivals)
    cpu_s: float = end.user + end.system - start.user - start.system
    return cpu_s / responses * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--perf-analyzer", type=Path)
    parser.add_argument("--streams", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rate", type=float, help="responses a second over all streams; default: as many as the server gives")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    arguments = parser.parse_args()
    with calibration_triton(find_tritonserver()) as server:
        target = inspect_target(server.endpoints.grpc, MODEL)
        for streams in arguments.streams:
            gap_us = round(streams / arguments.rate * 1e6) if arguments.rate else 0
            costs: dict[str, list[float]] = {}
            for _ in range(arguments.rounds):
                for name, settings in CLIENTS.items():
                    costs.setdefault(name, []).append(our_cost_us(target, settings, streams, gap_us, arguments.seconds))
                for name, cost_us in (("grpc.aio", grpc_cost_us), ("bare loop", bare_cost_us)):
                    costs.setdefault(name, []).append(cost_us(target, streams, gap_us, RESPONSES, arguments.seconds))
                if binary := arguments.perf_analyzer:
                    cost = perf_analyzer_cost_us(binary, target.url, streams, gap_us, arguments.seconds)
                    costs.setdefault("perf_analyzer", []).append(cost)
            for name, rounds in costs.items():
                print(
                    f"{streams} streams, {name}: {median(rounds):.1f} us a response (rounds: {', '.join(f'{cost:.1f}' for cost in rounds)})"
                )
            for ours, theirs, bound in BOUNDS:
                if theirs in costs:
                    print(f"{streams} streams, {ours} / {theirs}: {median(costs[ours]) / median(costs[theirs]):.3f} (bound {bound:.3f})")


if __name__ == "__main__":
    main()
