"""Writes runs for comparisons: one deployment, users in a closed loop, log-normal latencies that depend on their neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.support.records import MS, request_of
from tests.support.runs.written_run import Served, window, write_run
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome
from trtbench.scenario.reading import parse_scenario

USERS, TOKENS, LATENCY_MS = 4, 3, 50.0
DEPENDENCE, SPREAD = 0.6, 0.2


def write_compared_run(
    path: Path,
    seed: int,
    *,
    factor: float = 1.0,
    requests: int = 400,
    users: int = USERS,
    failing: int = 0,
    gpu: bool = False,
    deployment: str = "default",
    scenario: dict[str, Any] | None = None,
) -> RunDirectory:
    """`factor`: of all latencies. `failing`: the number of requests that time out, at equal distances."""
    from scipy.signal import lfilter  # a second, which only the process that runs this spends

    tree = {
        "name": "compared",
        "model": "smollm2-135m",
        "engines": ["int8"],
        "deployments": {deployment: {}},
        "workload": {"input_tokens": 10, "output_tokens": TOKENS},
        "load": [{"concurrency": users, "requests": requests}],
        "slo": {"e2e_latency_ms": 200},
    }
    noise = np.random.default_rng(seed).normal(size=requests)
    latencies_ms = factor * LATENCY_MS * np.exp(SPREAD * lfilter([(1 - DEPENDENCE**2) ** 0.5], [1, -DEPENDENCE], noise))
    free, records = [0.0] * users, []
    for number, latency_ms in enumerate(latencies_ms.tolist()):
        user = int(np.argmin(free))
        due, free[user] = round(free[user] * MS), free[user] + latency_ms
        times = [round(due + latency_ms * MS * share) for share in (0.4, 0.7, 1.0)]
        outcome = Outcome.TIMEOUT if failing and number % (requests // failing) == 0 else Outcome.COMPLETED
        records.append(request_of(due, times, outcome, stage=f"c{users}", index=number, prompt=number))
    end = max(record.done_ns or 0 for record in records)
    served = Served(records, [window(f"c{users}", 0, end, requests, users)], deployment=deployment, span_ns=(0, end + 1))
    return write_run(path, parse_scenario(tree | (scenario or {}), "compared"), served, gpu=gpu, span_ns=(0, end + 2))
