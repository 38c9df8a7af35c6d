"""Writes a whole run directory whose truth is known, as if FP16 and INT8 engines had been measured under four stages.

What tests may expect is in the constants of synthetic_deployment.py and in `SyntheticRun.requests`, the records as written.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.records import S
from tests.support.runs.synthetic_deployment import (
    COUNTS,
    INPUT_TOKENS,
    KV_BLOCKS,
    OUTPUT_TOKENS,
    SMALL_COUNTS,
    WARMUP,
    Counts,
    SyntheticDeployment,
    Truth,
)
from tests.support.runs.written_run import write_run
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario


@dataclass
class SyntheticRun:
    run: RunDirectory
    scenario: Scenario
    requests: dict[str, list[RequestRecord]] = field(default_factory=dict)

    def measured(self, deployment: str, stage: str) -> list[RequestRecord]:
        return [r for r in self.requests[deployment] if r.stage == stage and not r.warmup]

    def completed(self, deployment: str, stage: str) -> list[RequestRecord]:
        return [r for r in self.measured(deployment, stage) if r.outcome is Outcome.COMPLETED]


def scenario_of(model: str = "smollm2-135m", mixed: bool = False, requests: Mapping[str, int] = COUNTS) -> Scenario:
    kinds = {"mix": {"chat": {"weight": 3, "sessions": {"turns": 2}}, "search": {"cancel": {"ratio": 0.1, "after_tokens": 6}}}}
    loop = [{"concurrency": c, "requests": requests[f"c{c}"], "warmup_requests": WARMUP} for c in (1, 4, 8)]
    return parse_scenario(
        {
            "name": "synthetic",
            "purpose": "A run with known truth.",
            "model": model,
            "engines": ["fp16", "int8"],
            "deployments": {"default": {"kv_cache": {"blocks": KV_BLOCKS}, "dynamic_batching": {"max_queue_delay_us": 2000}}},
            "workload": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS} | (kinds if mixed else {}),
            "load": [*loop, {"mode": "poisson", "rate": 2, "requests": requests["poisson-2"], "warmup_requests": WARMUP}],
            "slo": {"ttft_ms": 200, "e2e_latency_ms": 1000},
        },
        "synthetic",
    )


def write_synthetic_run(
    path: Path,
    *,
    model: str = "smollm2-135m",
    gpu: bool = False,
    kill_in: str | None = None,
    same_plan: bool = True,
    mixed: bool = False,
    counts: Counts | None = None,
    small: bool = False,
) -> SyntheticRun:
    """A run of its own, copied where this process has written the same one before.

    `kill_in` ends everything halfway through that stage of the second engine: no window, no Parquet, a torn last line.

    `mixed`: two components, one of them in sessions of two turns, the other with planned cancellations.
    `small`: a few requests a stage, for tests that look at no figure.
    """
    key = (model, gpu, kill_in, same_plan, mixed, counts, small)
    if key not in _WRITTEN:
        if not _WRITTEN:
            atexit.register(shutil.rmtree, _ORIGINALS, ignore_errors=True)
        _WRITTEN[key] = _write(_ORIGINALS / str(len(_WRITTEN)), *key)
    written = _WRITTEN[key]
    shutil.copytree(written.run.path, path)
    return replace(written, run=RunDirectory.open(path))


_ORIGINALS = Path(tempfile.gettempdir()) / f"trtbench-synthetic-{os.getpid()}"
_WRITTEN: dict[tuple[Any, ...], SyntheticRun] = {}


def _write(
    path: Path, model: str, gpu: bool, kill_in: str | None, same_plan: bool, mixed: bool, counts: Counts | None, small: bool
) -> SyntheticRun:
    path.parent.mkdir(exist_ok=True)
    scenario = scenario_of(model, mixed, SMALL_COUNTS if small else COUNTS)
    served, time_ns = [], 10 * S
    for dtype in scenario.engines:
        plan_sha256 = ("a" if same_plan or dtype == "fp16" else "b") * 64
        truth = Truth(dtype, plan_sha256, gpu, mixed, kill_in if dtype == "int8" else None, counts)
        served.append(SyntheticDeployment(truth).serve(scenario.load, time_ns))
        _, time_ns = served[-1].span_ns
    run = write_run(path, scenario, *served, gpu=gpu, span_ns=(S, time_ns + S))
    return SyntheticRun(run, scenario, {one.name: list(one.requests) for one in served})
