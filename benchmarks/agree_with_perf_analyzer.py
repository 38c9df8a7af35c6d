"""Does trtbench measure what NVIDIA's perf_analyzer measures? Both drive one server at the same time, each with the same users.

    python benchmarks/agree_with_perf_analyzer.py PATH/TO/perf_analyzer [--users 2] [--requests 100] [--rounds 3]

perf_analyzer is not part of trtbench; the wheel `tritonclient==2.44.0` carries one. One after the other they would meet two different
machines: the speed of a small shared one changes by 10 % between two half minutes. Together they share every slow moment, and two closed
loops of equal users and prompts of equal length must complete the same number of requests at the same latency. Each round prints both,
over the time in which both ran; then come the ratios trtbench / perf_analyzer over all rounds. perf_analyzer's figures are computed from
the time stamps of its own profile export.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
from demo_server import demo_server

from trtbench.plan.sources.prompt_source import CorpusPrompts
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome

ISL, OSL = 64, 16
_WINDOWS = 3  # perf_analyzer calls a measurement stable after three windows
Spans = list[tuple[int, int]]
"""(sent, final response) of each request, wall-clock ns."""


class Figures(NamedTuple):
    requests: int
    qps: float
    mean_latency_s: float


def figures(spans: Spans, start_ns: int, end_ns: int) -> Figures:
    inside = [(sent, done) for sent, done in spans if start_ns <= done <= end_ns]
    return Figures(len(inside), len(inside) / (end_ns - start_ns) * 1e9, mean(done - sent for sent, done in inside) / 1e9)


def start_perf_analyzer(
    binary: Path, url: str, engine: Path, model: str, users: int, requests: int, directory: Path
) -> subprocess.Popen[bytes]:
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
    (directory / "input.json").write_text(json.dumps({"data": rows}))
    command = [str(binary), "-m", model, "-u", url, "-i", "grpc", "--streaming", "--async", f"--concurrency-range={users}", "-s", "999"]
    command += ["--measurement-mode=count_windows", f"--measurement-request-count={requests // _WINDOWS}", "-r", str(_WINDOWS)]
    command += [f"--input-data={directory}/input.json", f"--profile-export-file={directory}/profile.json"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def perf_analyzer_spans(directory: Path) -> Spans:
    text = (directory / "profile.json").read_text("latin-1")  # it holds raw tensors as text
    (experiment,) = json.loads(text, strict=False)["experiments"]
    return [(r["timestamp"], r["response_timestamps"][-1]) for r in experiment["requests"] if r["response_timestamps"]]


def trtbench_spans(url: str, engine: Path, model: str, users: int, requests: int, directory: Path) -> Spans:
    command = [sys.executable, "-m", "trtbench.cli.main", "bench", "--url", url, "--model", model, "--tokenizer", str(engine), "--quiet"]
    command += ["--isl", str(ISL), "--osl", str(OSL), "--concurrency", str(users), "--request-count", str(requests)]
    subprocess.run([*command, "--artifact-dir", str(directory)], check=True, stdout=subprocess.DEVNULL)
    run = RunDirectory.open(next(directory.iterdir()))
    anchor = run.environment()
    to_wall_ns = anchor.anchor_wall_ns - anchor.anchor_monotonic_ns
    done = [r for r in run.deployments()[0].requests() if r.outcome is Outcome.COMPLETED]
    return [(r.sent_ns + to_wall_ns, r.done_ns + to_wall_ns) for r in done if r.sent_ns and r.done_ns]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--users", type=int, default=2)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    ours, theirs = [], []
    with demo_server() as (server, engine):
        asked = (server.endpoints.grpc, engine.path, engine.model, arguments.users)
        for number in range(arguments.rounds):
            with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
                # Half as many again: it must still run when trtbench, which starts later, is done.
                with start_perf_analyzer(arguments.binary, *asked, arguments.requests * 3 // 2, Path(other)):
                    our_spans = trtbench_spans(*asked, arguments.requests, Path(one))
                their_spans = perf_analyzer_spans(Path(other))
            start_ns = max(min(sent for sent, _ in spans) for spans in (our_spans, their_spans))
            end_ns = min(max(done for _, done in spans) for spans in (our_spans, their_spans))
            ours.append(figures(our_spans, start_ns, end_ns))
            theirs.append(figures(their_spans, start_ns, end_ns))
            print(f"round {number}, {(end_ns - start_ns) / 1e9:.0f} s: trtbench {ours[-1]}, perf_analyzer {theirs[-1]}", flush=True)
    for index, name in enumerate(Figures._fields):
        print(f"{name}: trtbench / perf_analyzer = {mean(f[index] for f in ours) / mean(f[index] for f in theirs):.4f}")


if __name__ == "__main__":
    main()
