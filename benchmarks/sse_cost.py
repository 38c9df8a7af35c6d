"""What does a streamed event over HTTP/1.1 cost the client? trtbench, aiperf and guidellm against one replay server (sse_server.py).

    python benchmarks/sse_cost.py [--aiperf PATH] [--guidellm PATH] [--tokenizer DIR] [--streams 32] [--gap-ms 20] [--rounds 3]

All take turns on one server. CPU is of all processes of a client in the middle of its load, per event that the server sent meanwhile; of
the others also from their first event to their end, with the statistics that they make after the load. trtbench's includes recording.
Then: how many events a second one core of trtbench takes, and how true its timestamps are while it is kept busy. aiperf and guidellm are
no part of trtbench; each is installed in a virtual environment of its own, and needs a tokenizer's folder to make its prompts.

Bounds: at most 1/8 of aiperf's CPU and 1/5 of guidellm's, over 100,000 events a second, gap error below 100 us at p99.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import psutil
from stamp_error import report_errors, run_beside

from trtbench.client.openai.request_shape import RequestShape
from trtbench.client.openai.target import OpenaiTarget
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.calibrator import measure_ceiling
from trtbench.self_test.trial import closed_loop, prompt, run_trial

TOKENS = 64  # events of one request
BOUNDS = {"aiperf": 1 / 8, "guidellm": 1 / 5}
MEASURED_US = {"aiperf": 497.0, "guidellm": 339.0}
"""What each cost in an earlier run on the same machine, for a run without it."""
_START_S = 240.0  # the longest time until a client sends
_SETTLE_S, _END_S = 3.0, 120.0
_LEAST_PROBING_S = 14.0  # for a 99th percentile
_SERVER = Path(__file__).with_name("sse_server.py")


@contextmanager
def replay_server(gap_us: int) -> Iterator[str]:
    """The base URL of a server of its own process."""
    command = [sys.executable, str(_SERVER), "--first-us", str(gap_us), "--gap-us", str(gap_us)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin and server.stdout
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.stdin.close()


def target_of(url: str) -> OpenaiTarget:
    shape = RequestShape(prompt="ids", counts="token_ids", asked=("return_token_ids", "include_usage"))
    return OpenaiTarget(url=url, model="m", endpoint="openai-completions", shape=shape)


def our_cost_us(url: str, streams: int, gap_us: int, seconds: float, kernel_stamps: bool) -> float:
    settings = ClientSettings(kernel_stamps=kernel_stamps)
    trial = asyncio.run(run_trial(target_of(url), settings, closed_loop(streams, (prompt(gap_us, gap_us, TOKENS),), seconds)))
    assert not trial.failures, trial.failures[0]
    return trial.cpu_s / trial.responses * 1e6


def their_costs_us(command: Sequence[str], url: str, seconds: float) -> tuple[float, float]:
    """CPU of a client and of the processes that it started, per event: in `seconds` in the middle of its load, and from its first event
    to its end, with all that it does after the load."""
    ended_s = _children_s()
    with tempfile.TemporaryDirectory() as directory:
        client = psutil.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            begun_s, begun_events = _begin(client, url), _events(url)
            time.sleep(_SETTLE_S)
            start_s, start_events = _cpu_s(client), _events(url)
            time.sleep(seconds)
            middle = (_cpu_s(client) - start_s) / (_events(url) - start_events)
            client.wait(_END_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(client.pid, signal.SIGKILL)
            client.wait()
    return middle * 1e6, (_children_s() - ended_s - begun_s) / (_events(url) - begun_events) * 1e6


def _begin(client: psutil.Popen, url: str) -> float:
    """Wait until a client sends its load; the CPU that it has used until then."""
    before, until = _events(url), time.monotonic() + _START_S
    while _events(url) < before + TOKENS:
        assert client.poll() is None, f"{client.args[0]} ended with {client.returncode} before its load"
        assert time.monotonic() < until, f"{client.args[0]} sent nothing for {_START_S:g} s"
        time.sleep(0.2)
    return _cpu_s(client)


def _children_s() -> float:
    """CPU of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cpu_s(client: psutil.Popen) -> float:
    """Of all processes of the client's session that live; none of these clients ends one in the middle of its load."""
    used_s = 0.0
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == client.pid:
                times = process.cpu_times()
                used_s += times.user + times.system
    return used_s


def _events(url: str) -> int:
    with urllib.request.urlopen(f"{url}/events") as answer:
        return int(json.load(answer))


def commands(arguments: argparse.Namespace, url: str) -> dict[str, list[str]]:
    """The command lines of the clients that are installed."""
    streams, seconds, tokenizer = arguments.streams, round(arguments.seconds + _SETTLE_S + 1), arguments.tokenizer
    found = {}
    if arguments.aiperf:
        found["aiperf"] = [str(arguments.aiperf), "profile", "--model", "m", "--url", url, "--endpoint-type", "completions", "--streaming"]
        found["aiperf"] += ["--concurrency", str(streams), "--benchmark-duration", str(seconds), "--isl", "16", "--osl", str(TOKENS)]
        found["aiperf"] += ["--tokenizer", str(tokenizer), "--ui", "none"]
    if arguments.guidellm:
        backend = f"kind=openai_http,target={url},model=m,request_format=/v1/completions"
        data = f"kind=synthetic_text,prompt_tokens=16,output_tokens={TOKENS}"
        found["guidellm"] = [str(arguments.guidellm), "run", "--backend", backend, "--profile", f"kind=concurrent,streams={streams}"]
        found["guidellm"] += ["--constraint", f"kind=max_duration,seconds={seconds}", "--data", data]
        found["guidellm"] += ["--tokenizer", f"kind=hf_auto,model={tokenizer}", "--disable-console"]
    return found


def compare_cost(arguments: argparse.Namespace) -> None:
    gap_us = round(arguments.gap_ms * 1000)
    costs: dict[str, list[float]] = {}
    with replay_server(gap_us) as url:
        for _ in range(arguments.rounds):
            for name, kernel_stamps in (("trtbench, kernel stamps", True), ("trtbench, user stamps", False)):
                costs.setdefault(name, []).append(our_cost_us(url, arguments.streams, gap_us, arguments.seconds, kernel_stamps))
            for name, command in commands(arguments, url).items():
                middle, whole = their_costs_us(command, url, arguments.seconds)
                costs.setdefault(name, []).append(middle)
                costs.setdefault(f"{name}, to its end", []).append(whole)
    for name, rounds in costs.items():
        print(f"{name}: {median(rounds):.1f} us an event (rounds: {', '.join(f'{cost:.1f}' for cost in rounds)})")
    ours = median(costs["trtbench, kernel stamps"])
    for name, bound in BOUNDS.items():
        theirs, where = (
            (median(costs[name]), "") if name in costs else (MEASURED_US[name], f" ({MEASURED_US[name]:g} us, of an earlier run)")
        )
        print(f"trtbench, kernel stamps / {name}: 1/{theirs / ours:.1f}{where} (bound 1/{1 / bound:g})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aiperf", type=Path)
    parser.add_argument("--guidellm", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--gap-ms", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    arguments = parser.parse_args()
    if (arguments.aiperf or arguments.guidellm) and not arguments.tokenizer:
        parser.error("--aiperf and --guidellm need --tokenizer, a folder with a tokenizer.json")
    compare_cost(arguments)
    with replay_server(0) as url:
        found = asyncio.run(measure_ceiling(target_of(url), ClientSettings(), arguments.seconds))
        rate = f"{found.responses_per_cpu_s:,.0f} events a CPU second at {found.cores:.2f} cores"
        print(f"ceiling: {rate} (bound 100,000); {found.failed} requests failed")
    with replay_server(0) as probe_url, replay_server(0) as load_url:
        report_errors(*run_beside(target_of(probe_url), target_of(load_url), probes=8, seconds=max(arguments.seconds, _LEAST_PROBING_S)))


if __name__ == "__main__":
    main()
