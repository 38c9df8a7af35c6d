"""How do time and memory of a report grow with the run, and of sealing one?

    python benchmarks/report_scale.py [--sizes 10000,100000,1000000] [--tokens 100] [--seal 20000] [--keep DIRECTORY]

Makes a run directory of each size through the schema and the writer that seal a run: 64 users, a token every 20 ms, stamped by the
kernel, a server's own instants, and its samples every 250 ms as long as such a load takes. `trtbench report` runs on it in a process of
its own. Prints seconds, peak resident memory and the exponents by which processor time and memory grow with the size. `--seal N` writes
N requests as JSON lines, as the workers do, and seals those. Bounds, for 1,000,000 requests of 100 tokens on 2 cores: 60 s, 2 GiB, and
3 MB of HTML.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trtbench.run.environment import capture
from trtbench.rundir.directory import DeploymentDirectory, RunDirectory
from trtbench.rundir.event_kinds import StageFinished
from trtbench.rundir.lines import LineWriter
from trtbench.rundir.records import Event
from trtbench.rundir.schema import REQUEST_SCHEMA, SAMPLE_SCHEMA
from trtbench.rundir.sealing import GroupWriter
from trtbench.scenario.reading import parse_scenario
from trtbench.system.clock import WallAnchor

_MIB = 2**20
_USERS, _GAP_NS, _TTFT_NS, _START_NS, _INTERVAL_NS = 64, 20_000_000, 80_000_000, 10_000_000_000, 250_000_000
_CHUNK = 20_000
_GAUGES = ("kv_blocks_used", "kv_blocks_free", "inflight_scheduled_requests", "inflight_waiting_requests", "inflight_active_requests")
_PROCESSES = ("server_cpu_cores", "server_rss_bytes", "server_fds", "server_threads", "client_cpu_cores", "client_rss_bytes")
_COUNTERS = ("triton_success_count", "triton_inference_count", "triton_execution_count", "triton_queue_ns")
_CONSTANTS = {"kv_blocks_max": 4096.0, "kv_block_tokens": 32.0, "inflight_max_requests": 64.0}


def lists(values: Any, each: int, kind: Any) -> pa.Array:
    """A list of `each` values a request."""
    offsets = np.arange(0, len(values) + 1, each, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.astype(kind)))


def requests(first: int, count: int, tokens: int, rng: np.random.Generator) -> pa.Table:
    """Requests `first` to `first + count` of a closed loop."""
    number = np.arange(first, first + count)
    took = _TTFT_NS + tokens * _GAP_NS
    due = _START_NS + number // _USERS * took + number % _USERS * 1000
    sent = due + rng.integers(20_000, 200_000, count)
    gaps = rng.normal(_GAP_NS, _GAP_NS / 10, (count, tokens)).astype(np.int64)
    gaps[:, 0] = rng.normal(_TTFT_NS, _TTFT_NS / 10, count).astype(np.int64)
    token_ns = sent[:, None] + np.cumsum(gaps, axis=1)
    done = token_ns[:, -1] + 100_000
    server = [sent + 50_000, sent + 90_000, token_ns[:, 0] - 100_000, token_ns[:, -1] - 100_000]
    columns: dict[str, Any] = {
        "index": number,
        "prompt": number % 1000,
        "input_tokens": np.full(count, 128),
        "asked_output_tokens": np.full(count, tokens),
        "due_ns": due,
        "sent_ns": sent,
        "done_ns": done,
        "stage": ["c64"] * count,
        "outcome": ["completed"] * count,
        "error": [""] * count,
        "model_version": ["1"] * count,
        "warmup": np.zeros(count, np.bool_),
        "planned_cancel": np.zeros(count, np.bool_),
        "attempts": np.ones(count, np.int32),
        "token_ns": lists(token_ns.ravel(), tokens, np.int64),
        "token_lag_ns": lists(rng.integers(10_000, 90_000, count * tokens), tokens, np.int64),
        "token_counts": lists(np.ones(count * tokens), tokens, np.int32),
        "output_ids": lists(rng.integers(0, 49_152, count * tokens), tokens, np.int32),
        "server": pa.StructArray.from_arrays([pa.array(one) for one in server], fields=list(REQUEST_SCHEMA.field("server").type)),
    }
    return pa.table(
        [pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(count, field.type) for field in REQUEST_SCHEMA],
        schema=REQUEST_SCHEMA,
    )


def samples(start_ns: int, end_ns: int) -> pa.Table:
    times = np.arange(start_ns, end_ns, _INTERVAL_NS)
    names = [*_GAUGES, *_PROCESSES, *_COUNTERS, *_CONSTANTS]
    rising, swinging = (times - _START_NS) / 1e9, (times // _INTERVAL_NS % _USERS).astype(float)
    values = [np.full(len(times), _CONSTANTS[n]) if n in _CONSTANTS else rising if n in _COUNTERS else swinging for n in names]
    order = np.argsort(np.tile(times, len(names)), kind="stable")
    columns = [np.tile(times, len(names))[order], np.repeat(names, len(times))[order], [""] * len(order), np.concatenate(values)[order]]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SAMPLE_SCHEMA, strict=True)], schema=SAMPLE_SCHEMA)


def write_run(path: Path, count: int, tokens: int) -> int:
    """Returns the bytes of its requests."""
    load = [{"concurrency": _USERS, "requests": count}]
    scenario = parse_scenario({"name": "report-scale", "engines": ["fp16"], "workload": {"output_tokens": tokens}, "load": load}, "scale")
    run = RunDirectory.create(path)
    (path / "scenario.yaml").write_text(scenario.dump(), encoding="utf-8")
    run.write_environment(capture(WallAnchor.read()))
    directory = run.deployment("default-fp16")
    directory.write_json("deployment.json", {"provider": "openvino", "mode": "own", "kv_bytes_per_token": 23_040, "kv_blocks": 4096})
    rng = np.random.default_rng(1)
    writer, end_ns = GroupWriter(directory.requests_parquet, REQUEST_SCHEMA), _START_NS
    for first in range(0, count, _CHUNK):
        table = requests(first, min(_CHUNK, count - first), tokens, rng)
        end_ns = max(end_ns, int(np.max(table["done_ns"].to_numpy())))
        writer.write(table)
    writer.close()
    readings = GroupWriter(directory.samples_parquet, SAMPLE_SCHEMA)
    for start_ns in range(_START_NS - _INTERVAL_NS, end_ns, 1000 * _INTERVAL_NS):
        readings.write(samples(start_ns, min(start_ns + 1000 * _INTERVAL_NS, end_ns + _INTERVAL_NS)))
    readings.close()
    _events(run, directory.name, count, end_ns)
    return directory.requests_parquet.stat().st_size


def _events(run: RunDirectory, deployment: str, count: int, end_ns: int) -> None:
    window = StageFinished("c64", "concurrency", _USERS, _START_NS, end_ns, count, "done")
    run.append_event(Event(0, "run_started", "", {"command": ["trtbench"]}))
    happened: list[tuple[int, str, dict[str, Any]]] = [
        (0, "deployment_started", {}),
        (1, "server_ready", {"seconds": 1.0}),
        (_START_NS, "stage_started", {"name": "c64", "mode": "concurrency", "asked": _USERS, "planned": count}),
        (end_ns, "stage_finished", asdict(window)),
        (end_ns, "deployment_finished", {"ended": "done"}),
    ]
    for at, kind, data in happened:
        run.append_event(Event(at, kind, deployment, data))
    run.append_event(Event(end_ns, "run_finished"))


def measured(command: Sequence[str]) -> tuple[float, float, float]:
    """(Seconds, seconds of processor time, MiB of resident memory at its highest) of a command of this Python."""
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 4):
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def seal(path: Path, count: int, tokens: int) -> None:
    """Write requests as a worker writes them, and seal them in a process of its own."""
    directory = DeploymentDirectory(path)
    path.mkdir(parents=True)
    writer, rng = LineWriter(directory.requests_jsonl()), np.random.default_rng(1)
    for first in range(0, count, 1000):
        writer.write(*requests(first, min(1000, count - first), tokens, rng).to_pylist())
    writer.close()
    size = directory.requests_jsonl().stat().st_size
    code = "import sys, pathlib; from trtbench.rundir import directory; directory.DeploymentDirectory(pathlib.Path(sys.argv[1])).seal()"
    seconds, busy_s, mib = measured(["-c", code, str(path)])
    print(
        f"sealing {count:,} requests ({size / _MIB:,.0f} MiB of lines): {seconds:.1f} s ({busy_s:.1f} s of processor time), {mib:,.0f} MiB"
    )


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Slope of the logarithms by least squares: 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0]) if len(sizes) > 1 else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--seal", type=int, default=20_000)
    parser.add_argument("--keep", type=Path, help="where the run directories stay; without it they are removed")
    arguments = parser.parse_args()
    sizes, tokens = [int(size) for size in arguments.sizes.split(",")], arguments.tokens
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.keep or Path(temporary)
        taken = []
        for size in sizes:
            held = write_run(root / str(size), size, tokens)
            taken.append(measured(["-m", "trtbench.cli.main", "report", str(root / str(size))]))
            seconds, busy_s, mib = taken[-1]
            print(f"{size:,} requests of {tokens} tokens ({held / _MIB:,.0f} MiB): {seconds:.1f} s ({busy_s:.1f} s of processor time)")
            page = root / str(size) / "report.html"
            print(f"  report.html: {page.stat().st_size / 1e6:.2f} MB (bound 3)")
            print(f"  at most {mib:,.0f} MiB resident (bound 2,048; of time, for 1,000,000 on an idle machine, 60 s)")
        time_grows, memory_grows = (exponent(sizes, [one[i] for one in taken]) for i in (1, 2))
        print(f"growth: processor time ~ size^{time_grows:.2f}, memory ~ size^{memory_grows:.2f}")
        if arguments.seal:
            seal(root / "sealed", arguments.seal, tokens)


if __name__ == "__main__":
    main()
