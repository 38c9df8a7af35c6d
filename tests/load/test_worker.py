"""A worker as a process of its own, ordered about by its pipe."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypeVar

import pytest

from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.target import KserveTarget
from trtbench.load.orders import (
    Close,
    Closed,
    Fault,
    Order,
    PartOfPhase,
    PhaseDone,
    Prepared,
    PreparePhase,
    Ready,
    Report,
    RunPhase,
    order_line,
    report_of,
)
from trtbench.load.worker import WorkerConfig
from trtbench.plan.draw import draw_plan
from trtbench.plan.plan_file import save_plan
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.rundir.lines import read_lines
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.reading import parse_scenario
from trtbench.system.clock import now_ns

pytestmark = pytest.mark.timeout(40)


def config_of(directory: Path, target: KserveTarget, **settings: Any) -> WorkerConfig:
    scenario = parse_scenario({"name": "x", "load": [{"concurrency": 3, "requests": 30}], "client": settings}, "test")
    save_plan(draw_plan(scenario, UniformPrompts(1000)), directory / "plan.jsonl")
    return WorkerConfig(
        number=2, plan=directory / "plan.jsonl", requests=directory / "requests-2.jsonl", samples=directory / "samples.jsonl",
        target=target, workload=scenario.workload, settings=scenario.client, end_id=-1, timeout_s=30, drain_s=5, watch=True,
    )  # fmt: skip


R = TypeVar("R", bound=Report)


class Process:
    """The worker, and what it reports."""

    def __init__(self, config: WorkerConfig, errors: Path = Path("/dev/null")) -> None:
        command = [sys.executable, "-m", "trtbench.load.worker"]
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        self.write(config.to_line())

    def write(self, line: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def order(self, order: Order) -> None:
        self.write(order_line(order))

    def report(self, kind: type[R]) -> R:
        """The next of this kind."""
        assert self.process.stdout
        for line in self.process.stdout:
            if isinstance(said := report_of(line), kind):
                return said
        raise AssertionError(f"it ended without reporting {kind}")

    def begin(self) -> None:
        self.report(Ready)
        self.order(PreparePhase(PartOfPhase(stage=0, warmup=False, worker=2, workers=3)))
        self.report(Prepared)
        self.order(RunPhase(now_ns()))


def test_its_configuration_survives_the_pipe(tmp_path: Path) -> None:
    target = KserveTarget("127.0.0.1:1", "m", "1", 8, "2.51.0", frozenset({"a", "b"}), frozenset({"c"}))
    config = config_of(tmp_path, target, workers=3, retries=2)
    assert WorkerConfig.from_line(config.to_line()) == config


def test_it_runs_its_share_reports_and_ends(tmp_path: Path, start_fake_server: Any) -> None:
    url = start_fake_server(5, 1).url
    worker = Process(config_of(tmp_path, inspect_target(url, "tensorrt_llm")))
    worker.begin()
    done = worker.report(PhaseDone)
    assert done.result.planned == done.result.completed == done.progress.counts.completed == 10
    assert done.cpu_ns > 0
    worker.order(Close())
    assert worker.report(Closed).facts.transport == "wire"
    assert worker.process.wait(10) == 0
    records = [RequestRecord.from_json(row) for row in read_lines(tmp_path / "requests-2.jsonl")]
    assert sorted(record.index for record in records) == list(range(2, 30, 3)) and {record.worker for record in records} == {2}


def test_it_ends_with_its_employer_and_records_what_was_in_flight(tmp_path: Path, start_fake_server: Any) -> None:
    url = start_fake_server(60_000, 1).url
    worker = Process(config_of(tmp_path, inspect_target(url, "tensorrt_llm")))
    worker.begin()
    time.sleep(0.5)
    assert worker.process.stdin
    worker.process.stdin.close()
    assert worker.process.wait(15) == 0
    outcomes = [row["outcome"] for row in read_lines(tmp_path / "requests-2.jsonl")]
    assert sorted(outcomes) == sorted([Outcome.CANCELLED.value] + [Outcome.NEVER_SENT.value] * 9)


@pytest.mark.process
def test_a_server_that_is_not_there_is_said_and_ends_it(tmp_path: Path) -> None:
    worker = Process(config_of(tmp_path, KserveTarget("127.0.0.1:1", "m", "", 8, "2.51.0", frozenset(), frozenset())))
    fault = worker.report(Fault)
    assert fault.kind == "ConnectError" and "127.0.0.1:1" in fault.message
    assert worker.process.wait(10) == 1


def test_a_disk_that_is_full_is_said_and_ends_it(tmp_path: Path, start_fake_server: Any) -> None:
    url = start_fake_server(5, 1).url
    config = config_of(tmp_path, inspect_target(url, "tensorrt_llm"))
    (tmp_path / "requests-2.jsonl").symlink_to("/dev/full")
    worker = Process(config)
    worker.begin()
    fault = worker.report(Fault)
    assert fault.errno == 28 and worker.process.wait(10) == 1


def test_an_order_that_is_none_is_said_and_ends_it_with_all_on_record(tmp_path: Path, start_fake_server: Any) -> None:
    url = start_fake_server(60_000, 1).url
    worker = Process(config_of(tmp_path, inspect_target(url, "tensorrt_llm")), errors=tmp_path / "errors")
    worker.begin()
    worker.write(b'{"do": "switch_model", "model": 5}\n')
    assert worker.process.wait(15) == 1
    assert "switch_model.model" in (tmp_path / "errors").read_text()
    outcomes = [row["outcome"] for row in read_lines(tmp_path / "requests-2.jsonl")]
    assert len(outcomes) == 10 and set(outcomes) <= {Outcome.CANCELLED.value, Outcome.NEVER_SENT.value}
