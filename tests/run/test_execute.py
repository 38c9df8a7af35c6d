"""`trtbench serve-and-bench` on the real server, end to end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.command import ROOT, Command, ran
from tests.support.triton.started_run import MINI, StartRun, assert_conserved, outcomes, report, run_of, the_deployment
from trtbench.analysis.stage.engine_times import ENGINE_COUNTERS
from trtbench.plan.plan_file import load_plan
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import read_json
from trtbench.rundir.records import Outcome
from trtbench.scenario.reading import load_scenario

pytestmark = [pytest.mark.triton, pytest.mark.timeout(150, func_only=True)]


def kinds(run: RunDirectory) -> list[str]:
    return [event.kind for event in run.events()]


@pytest.fixture(scope="module")
def finished(start_run: StartRun) -> Command:
    command = start_run(MINI, draws=True)
    assert ran(command.wait(120), command.directory), command.err
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
    assert not list(deployment.path.glob("requests*.jsonl"))
    assert load_scenario(run.path / "scenario.yaml") == load_scenario(finished.directory / "scenario.yaml")
    assert str(run.path / "report.md") in finished.out


def test_events_in_their_order(finished: Command) -> None:
    run = run_of(finished)
    expected = ["run_started", "plan_drawn", "deployment_started", "server_ready", *["stage_started", "stage_finished"] * 2]
    assert kinds(run) == [*expected, "load_client", "telemetry_finished", "deployment_finished", "run_finished"]
    times = [event.time_ns for event in run.events()]
    assert times == sorted(times)


def test_the_plan_that_was_run_is_the_plan_on_file(finished: Command) -> None:
    deployment = the_deployment(run_of(finished))
    plan = load_plan(deployment.plan_jsonl)
    assert read_json(deployment.path / "deployment.json")["plan_sha256"] == plan.sha256
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
    rows = [line.split("|")[1] for line in table.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    samples = the_deployment(run_of(finished)).samples()
    assert set(samples.names()) <= listed
    elsewhere = ("gpu_", "mig_", "server_gpu_", "container_", "encoder_", "replica_", "balancer_", "response_cache_", "length_class")
    of_other_servers = set(ENGINE_COUNTERS)
    assert {name for name in listed - of_other_servers - set(samples.names()) if not name.startswith(elsewhere)} == set()
    assert samples.series("kv_blocks_max")[1].tolist()[0] == 24
    assert samples.series("inflight_max_requests")[1].tolist()[0] == 8


def test_the_report_made_again_is_the_same(finished: Command) -> None:
    run = run_of(finished)
    names = ("report.md", "summary.json", "report.html")
    before = {name: (run.path / name).read_bytes() for name in names}
    for name in names:
        (run.path / name).unlink()
    done = report(run, draws=True)
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
