"""`trtbench serve-and-bench` on the real server, end to end: a whole run, and runs that are broken off in every way."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from serving.command import ROOT, Command

from trtbench.engine.spec import Engine
from trtbench.load.plan import Plan
from trtbench.records import Outcome, RequestRecord
from trtbench.rundir import DeploymentDirectory, RunDirectory, read_json
from trtbench.scenario import Dtype, load_scenario
from trtbench.serving.installation import TritonInstallation

pytestmark = [pytest.mark.triton, pytest.mark.timeout(150, func_only=True)]

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

Start = Callable[..., Command]


@pytest.fixture(scope="module")
def start(installation: TritonInstallation, engines: dict[Dtype, Engine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a run of a scenario, in a directory of its own; `installation` and `engines` say whether this machine can."""
    commands: list[Command] = []

    def begin(scenario: dict[str, Any], *arguments: str) -> Command:
        directory = tmp_path_factory.mktemp("run")
        (directory / "scenario.yaml").write_text(yaml.safe_dump(scenario))
        command = Command(directory, "serve-and-bench", str(directory / "scenario.yaml"), "--runs", str(directory / "runs"), *arguments)
        commands.append(command)
        return command

    yield begin
    for command in commands:
        command.end()


def run_of(command: Command) -> RunDirectory:
    (path,) = (command.directory / "runs").iterdir()
    return RunDirectory.open(path)


def the_deployment(run: RunDirectory) -> DeploymentDirectory:
    (directory,) = run.deployments()
    return directory


def begun(command: Command, done: int = 6) -> bool:
    """Whether the load runs, with some requests behind it."""
    lines = list((command.directory / "runs").glob("*/*/requests.jsonl"))
    return bool(lines) and lines[0].read_bytes().count(b"\n") >= done


def start_long(start: Start) -> Command:
    command = start(LONG)
    command.wait_for(lambda: begun(command))
    return command


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


def kinds(run: RunDirectory) -> list[str]:
    return [event.kind for event in run.events()]


def report(run: RunDirectory, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trtbench.cli", "report", str(run.path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def finished(start: Start) -> Command:
    command = start(MINI)
    assert command.wait(120) == 0, command.err
    return command


def test_the_run_directory_is_complete(finished: Command) -> None:
    run = run_of(finished)
    assert run.is_complete()
    assert {"scenario.yaml", "environment.json", "events.jsonl", "summary.json", "report.md", "report.html", "plots"} <= {
        path.name for path in run.path.iterdir()
    }
    deployment = the_deployment(run)
    assert {path.name for path in deployment.path.iterdir()} >= {
        *("deployment.json", "engine.json", "config.pbtxt", "server.log", "plan.jsonl", "requests.parquet", "samples.parquet")
    }
    assert not list(run.path.rglob("*.jsonl.tmp"))
    assert not deployment.requests_jsonl.exists()
    assert load_scenario(run.path / "scenario.yaml") == load_scenario(finished.directory / "scenario.yaml")
    assert str(run.path / "report.md") in finished.out


def test_events_in_their_order(finished: Command) -> None:
    run = run_of(finished)
    expected = ["run_started", "plan_drawn", "deployment_started", "server_ready", *["stage_started", "stage_finished"] * 2]
    assert kinds(run) == [*expected, "telemetry_finished", "deployment_finished", "run_finished"]
    times = [event.time_ns for event in run.events()]
    assert times == sorted(times)


def test_the_plan_that_was_run_is_the_plan_on_file(finished: Command) -> None:
    deployment = the_deployment(run_of(finished))
    plan = Plan.load(deployment.plan_jsonl)
    assert deployment.read_json("deployment.json")["plan_sha256"] == plan.sha256
    prompts = {part.stage.label: part.measured.prompts + part.warmup.prompts for part in plan.stages}
    for record in deployment.requests():
        assert record.input_tokens == len(prompts[record.stage][record.prompt].input_ids)


def test_every_planned_request_is_on_record(finished: Command) -> None:
    records = the_deployment(run_of(finished)).requests()
    assert_conserved(records, {("c2", True): 2, ("c2", False): 6, ("poisson-5", False): 8})
    assert outcomes(records) == {Outcome.COMPLETED: 16}
    for record in records:
        assert record.sent_ns is not None and record.done_ns is not None and record.server is not None
        assert record.due_ns <= record.sent_ns <= record.server.arrival_ns
        assert record.server.arrival_ns <= record.server.first_scheduled_ns <= record.server.first_token_ns <= record.token_ns[0]
        assert record.token_ns == sorted(record.token_ns)
        assert record.server.last_token_ns <= record.token_ns[-1] <= record.done_ns
        assert record.token_counts == [1] * 6


def test_the_server_counted_the_same_requests(finished: Command) -> None:
    samples = the_deployment(run_of(finished)).samples()
    assert samples.series("triton_inference_count")[1].max() == 16
    executed = sum(
        int(size) * samples.series("triton_batch_executions", size)[1].max() for size in samples.labels("triton_batch_executions")
    )
    assert executed == 16


def test_samples_are_the_series_that_the_documentation_lists(finished: Command) -> None:
    table = (ROOT / "docs" / "telemetry.md").read_text()
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    samples = the_deployment(run_of(finished)).samples()
    assert set(samples.names()) <= listed
    assert {name for name in listed - set(samples.names()) if not name.startswith("gpu_")} == set()
    assert samples.series("kv_blocks_max")[1].tolist()[0] == 24
    assert samples.series("inflight_max_requests")[1].tolist()[0] == 8


def test_the_report_made_again_is_the_same(finished: Command) -> None:
    run = run_of(finished)
    names = ("report.md", "summary.json", "report.html")
    before = {name: (run.path / name).read_bytes() for name in names}
    for name in names:
        (run.path / name).unlink()
    done = report(run)
    assert done.returncode == 0, done.stderr
    after = {name: (run.path / name).read_bytes() for name in names}
    assert after["summary.json"] == before["summary.json"]
    assert after["report.md"] == before["report.md"]
    assert after["report.html"] == before["report.html"]


def test_the_report_in_chinese_and_of_one_format(finished: Command, tmp_path: Path) -> None:
    run = run_of(finished)
    english = (run.path / "report.md").read_bytes()
    html = (run.path / "report.html").read_bytes()
    done = report(run, "--lang", "zh", "--format", "md")
    assert done.returncode == 0, done.stderr
    text = (run.path / "report.md").read_text()
    (run.path / "report.md").write_bytes(english)
    assert "并发数" in text
    assert (run.path / "report.html").read_bytes() == html
    assert report(run, "--format", "pdf").returncode == 2


def test_a_finished_run_leaves_nothing_behind(finished: Command) -> None:
    finished.assert_nothing_left()
    assert [path.name for path in finished.temporary.iterdir() if path.name.startswith("trtbench")] == []


def test_a_server_killed_in_the_middle(start: Start) -> None:
    command = start_long(start)
    (triton,) = command.children("tritonserver")
    triton.kill()
    assert command.wait() == 1
    run = run_of(command)
    lost = next(event for event in run.events() if event.kind == "server_lost")
    assert lost.data["exit_code"] == 128 + signal.SIGKILL
    assert "SIGKILL" in lost.data["cause"]
    assert "the server is lost" in command.err
    records = the_deployment(run).requests()
    assert_conserved(records, LONG_PLANNED)
    counts = outcomes(records)
    assert counts[Outcome.COMPLETED] >= 6
    assert 1 <= counts[Outcome.CONNECTION] <= 4
    assert counts[Outcome.NEVER_SENT] == 508 - counts[Outcome.COMPLETED] - counts[Outcome.CONNECTION]
    assert next(event for event in run.events() if event.kind == "deployment_finished").data["ended"] == "server_lost"
    summary = read_json(run.path / "summary.json")
    assert summary["verdict"]["status"] == "INVALID"
    assert "Traceback" not in command.err
    command.assert_nothing_left()


def test_one_ctrl_c_drains(start: Start) -> None:
    command = start_long(start)
    command.interrupt()
    assert command.wait() == 130
    run = run_of(command)
    records = the_deployment(run).requests()
    assert_conserved(records, LONG_PLANNED)
    counts = outcomes(records)
    assert set(counts) == {Outcome.COMPLETED, Outcome.NEVER_SENT}  # what was in flight came to its end
    assert [event.data["level"] for event in run.events() if event.kind == "interrupted"] == [1]
    assert not run.is_complete()
    assert (run.path / "report.md").is_file()
    assert read_json(run.path / "summary.json")["verdict"]["status"] != "VALID"
    assert "waiting for what is in flight" in command.err
    assert "Traceback" not in command.err
    command.assert_nothing_left()


def test_a_second_ctrl_c_stops_now(start: Start) -> None:
    command = start_long(start)
    command.interrupt()
    command.wait_for(lambda: "waiting for what is in flight" in command.err)
    command.interrupt()
    assert command.wait() == 130
    run = run_of(command)
    records = the_deployment(run).requests()
    assert_conserved(records, LONG_PLANNED)
    assert set(outcomes(records)) <= {Outcome.COMPLETED, Outcome.CANCELLED, Outcome.NEVER_SENT}
    assert [event.data["level"] for event in run.events() if event.kind == "interrupted"] == [1, 2]
    assert (run.path / "report.md").is_file()
    command.assert_nothing_left()


def test_sigterm_stops_now(start: Start) -> None:
    command = start_long(start)
    command.process.terminate()
    assert command.wait() == 143
    run = run_of(command)
    records = the_deployment(run).requests()
    assert_conserved(records, LONG_PLANNED)
    assert outcomes(records)[Outcome.CANCELLED] >= 1
    assert not run.is_complete()
    assert (run.path / "report.md").is_file()
    command.assert_nothing_left()


def test_sigterm_while_the_server_starts(start: Start) -> None:
    command = start(MINI)
    command.wait_for(lambda: bool(command.children("tritonserver")))
    command.process.terminate()
    assert command.wait() == 143
    assert "Traceback" not in command.err
    command.assert_nothing_left()


def test_a_killed_trtbench_leaves_a_readable_run_and_no_server(start: Start) -> None:
    command = start_long(start)
    command.process.kill()
    command.wait()
    command.assert_nothing_left()
    run = run_of(command)
    assert not run.is_complete()
    records = the_deployment(run).requests()
    assert outcomes(records)[Outcome.COMPLETED] >= 6
    done = report(run)
    assert done.returncode == 0, done.stderr
    assert read_json(run.path / "summary.json")["verdict"]["status"] == "INVALID"
