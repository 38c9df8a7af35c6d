"""Does trtbench measure what NVIDIA's perf_analyzer measures? The same server, prompts and users, turn and turn about.

    python benchmarks/agree_with_perf_analyzer.py PATH/TO/perf_analyzer [--users 4] [--requests 90] [--rounds 3]

perf_analyzer is not part of trtbench; the wheel `tritonclient==2.44.0` carries one. Prints each round's completed requests, QPS and
mean latency from both, and the ratios trtbench / perf_analyzer of the rounds' medians. perf_analyzer's figures are computed from the
time stamps of its own profile export, over its three windows of a third of the requests each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import numpy as np
from demo_server import demo_server

from trtbench.load.workload import CorpusPrompts
from trtbench.records import Outcome
from trtbench.rundir import RunDirectory

ISL, OSL = 64, 16
_WINDOWS = 3  # perf_analyzer calls a measurement stable after three windows


class Figures(NamedTuple):
    requests: int
    qps: float
    mean_latency_s: float


def trtbench(url: str, engine: Path, model: str, users: int, requests: int, directory: Path) -> Figures:
    command = [sys.executable, "-m", "trtbench.cli", "bench", "--url", url, "--model", model, "--tokenizer", str(engine), "--quiet"]
    command += ["--isl", str(ISL), "--osl", str(OSL), "--concurrency", str(users), "--request-count", str(requests)]
    subprocess.run([*command, "--artifact-dir", str(directory)], check=True, stdout=subprocess.DEVNULL)
    (deployment,) = RunDirectory.open(next(directory.iterdir())).deployments()
    done = [r for r in deployment.requests() if r.outcome is Outcome.COMPLETED and r.done_ns and r.sent_ns]
    return figures([(r.sent_ns, r.done_ns) for r in done])  # type: ignore[misc]


def perf_analyzer(binary: Path, url: str, engine: Path, model: str, users: int, requests: int, directory: Path) -> Figures:
    random = np.random.default_rng(1)
    source = CorpusPrompts.of_engine(engine, ("en", "zh"))
    rows = [
        {
            "input_ids": {"content": source.draw(ISL, random).tolist(), "shape": [ISL]},
            "input_lengths": [ISL],
            "request_output_len": [OSL],
            "end_id": [-1],
            "streaming": [True],
            "runtime_top_k": [1],
        }
        for _ in range(requests)
    ]
    data, export = directory / "input.json", directory / "profile.json"
    data.write_text(json.dumps({"data": rows}))
    command = [str(binary), "-m", model, "-u", url, "-i", "grpc", "--streaming", "--async", f"--concurrency-range={users}"]
    command += ["--measurement-mode=count_windows", f"--measurement-request-count={requests // _WINDOWS}", "-s", "999", "-r", "3"]
    subprocess.run([*command, f"--input-data={data}", f"--profile-export-file={export}"], check=True, stdout=subprocess.DEVNULL)
    (experiment,) = json.loads(export.read_text("latin-1"), strict=False)["experiments"]  # it holds raw tensors as text
    spans = [(r["timestamp"], r["response_timestamps"][-1]) for r in experiment["requests"] if r["response_timestamps"]]
    return figures(spans)


def figures(spans_ns: list[tuple[int, int]]) -> Figures:
    """From (sent, final response) of each request."""
    window_s = (max(done for _, done in spans_ns) - min(sent for sent, _ in spans_ns)) / 1e9
    return Figures(len(spans_ns), len(spans_ns) / window_s, mean(done - sent for sent, done in spans_ns) / 1e9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--requests", type=int, default=90)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    ours, theirs = [], []
    with demo_server() as (server, engine):
        asked = (server.endpoints.grpc, engine.path, engine.model, arguments.users, arguments.requests)
        for number in range(arguments.rounds):
            with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
                ours.append(trtbench(*asked, Path(one)))
                theirs.append(perf_analyzer(arguments.binary, *asked, Path(other)))
            print(f"round {number}: trtbench {ours[-1]}\n         perf_analyzer {theirs[-1]}", flush=True)
    for index, name in enumerate(Figures._fields):
        print(f"{name}: trtbench / perf_analyzer = {median(f[index] for f in ours) / median(f[index] for f in theirs):.4f}")


if __name__ == "__main__":
    main()
