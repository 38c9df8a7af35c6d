"""Runs of `trtbench serve-and-bench` for tests: a short scenario, a long one to break off, and what holds for every run directory."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any, Protocol

from tests.support.command import ROOT, WITHOUT_FIGURES, Command
from trtbench.rundir.directory import DeploymentDirectory, RunDirectory
from trtbench.rundir.records import Outcome, RequestRecord

MINI: dict[str, Any] = {
    "name": "mini",
    "model": "smollm2-135m",
    "provider": "openvino",
    "engines": ["int8"],
    "deployments": {
        "default": {
            "dynamic_batching": {"preferred_batch_sizes": [4], "max_queue_delay_us": 1000},
            "kv_cache": {"blocks": 24},
            "scheduler": {"max_sequences": 8, "max_tokens_per_step": 256},
            "inference_threads": 1,
        }
    },
    "workload": {"input_tokens": {"min": 8, "max": 16}, "output_tokens": 6},
    "load": [{"concurrency": 2, "requests": 6, "warmup_requests": 2}, {"mode": "poisson", "rate": 5, "requests": 8}],
    "telemetry": {"interval_ms": 100},
}
LONG = MINI | {
    "workload": {"input_tokens": 12, "output_tokens": 32},
    "load": [{"concurrency": 4, "requests": 500}, {"mode": "constant", "rate": 1, "requests": 5, "warmup_requests": 3}],
}
LONG_PLANNED = {("c4", False): 500, ("constant-1", False): 5, ("constant-1", True): 3}


class StartRun(Protocol):
    def __call__(self, scenario: dict[str, Any], draws: bool = False) -> Command:
        """Start a run; its report has figures if `draws` is set."""


def run_of(command: Command) -> RunDirectory:
    (path,) = (command.directory / "runs").iterdir()
    return RunDirectory.open(path)


def the_deployment(run: RunDirectory) -> DeploymentDirectory:
    (directory,) = run.deployments()
    return directory


def assert_conserved(records: list[RequestRecord], planned: dict[tuple[str, bool], int]) -> None:
    """Every planned request has one record, with one outcome."""
    assert Counter((record.stage, record.warmup) for record in records) == planned
    places = Counter((record.stage, record.warmup, record.index) for record in records)
    assert set(places.values()) == {1}
    for record in records:
        assert len(record.token_ns) == len(record.token_counts)
        assert record.output_tokens == len(record.output_ids)
        if record.outcome is Outcome.COMPLETED:
            assert record.output_tokens == record.asked_output_tokens
        if record.outcome is Outcome.NEVER_SENT:
            assert record.sent_ns is None
            assert not record.token_ns


def outcomes(records: list[RequestRecord]) -> Counter[Outcome]:
    return Counter(record.outcome for record in records)


def report(run: RunDirectory, *arguments: str, draws: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trtbench" if draws else WITHOUT_FIGURES, "report", str(run.path), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
