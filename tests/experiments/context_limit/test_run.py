"""The context-limit search on the real server and engine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.command import Command, ran
from tests.support.triton.started_run import StartRun, report, run_of, the_deployment
from trtbench.analysis.summary import summarise
from trtbench.experiments.context_limit.context_limits import CONTEXT_LIMITS
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome

pytestmark = [pytest.mark.triton, pytest.mark.timeout(150, func_only=True)]

SEARCH = {
    "name": "limit",
    "engines": ["int8"],
    "deployments": {"default": {"kv_cache": {"blocks": 6}, "scheduler": {"max_sequences": 4}}},
    "workload": {"input_tokens": 16, "output_tokens": 4},
    "context_limit": {"concurrency": [1, 2], "output_tokens": 4, "confirm": 1, "extreme_tokens": [10_000]},
    "telemetry": {"interval_ms": 50},
}


def test_the_search_finds_the_limit_that_the_kv_budget_sets(start_run: StartRun) -> None:
    command = start_run(SEARCH)
    assert ran(command.wait(120), command.directory), command.err
    run = run_of(command)
    summary = summarise(run)
    limits = summary.deployments[0].found[CONTEXT_LIMITS]
    assert limits and limits.ended == "done"
    assert (limits.predicted_tokens, limits.predicted_by) == (6 * 32 - 4, "kv_budget")
    for limit in limits.limits:
        assert limits.agrees(limit) is True
        assert limit.failed_tokens and limit.passed_tokens and limit.failed_tokens - limit.passed_tokens <= 32
        assert (limit.failure, limit.confirmed, limit.refuted) == ("kv_exhausted", 2, 0)
    assert [limit.users for limit in limits.limits] == [1, 2]
    assert limits.unhealthy == limits.leaking == ()
    extreme = next(trial for trial in limits.trials if trial.phase == "extreme")
    assert (extreme.input_tokens, extreme.failure, extreme.healthy) == (10_000, "length_rule", True)
    assert summary.verdict.status == "VALID", summary.verdict.reasons
    text = (run.path / "report.md").read_text("utf-8")
    assert "Context limit" in text and "KV cache too small" in text
    assert report(run, "--lang", "zh").returncode == 0
    assert "KV 缓存不足" in (run.path / "report.md").read_text("utf-8")
    check_that_every_request_is_on_record(run)


def check_that_every_request_is_on_record(run: RunDirectory) -> None:
    records = the_deployment(run).requests()
    trials = [event.data for event in run.events() if event.kind == "context_trial"]
    assert {trial["users"] for trial in trials} == {1, 2}
    for trial in trials:
        mine = [record for record in records if record.stage == trial["stage"]]
        assert len(mine) == trial["users"]
        assert all(record.outcome is Outcome.COMPLETED for record in mine) is trial["passed"]
    assert sum(record.stage.startswith("health-") for record in records) == sum(not trial["passed"] for trial in trials)


SLOW: dict[str, Any] = SEARCH | {
    "deployments": {"default": {"kv_cache": {"blocks": 200}}},
    "context_limit": {"concurrency": [1], "confirm": 0},
}


def test_a_search_short_of_memory_ends_and_names_the_bound(start_run: StartRun) -> None:
    command = start_run(SEARCH | {"context_limit": {"concurrency": [1], "min_available_memory_ratio": 0.9999}})
    assert ran(command.wait(120), command.directory), command.err
    run = run_of(command)
    summary = summarise(run)
    limits = summary.deployments[0].found[CONTEXT_LIMITS]
    assert limits and limits.ended == "low_memory" and limits.memory_short
    assert 0 < limits.memory_short.available_bytes < limits.memory_short.limit_bytes
    assert limits.trials[-1].failure == "low_memory"
    assert "spare the" in (run.path / "report.md").read_text("utf-8")
    assert summary.verdict.status == "SUSPECT"


def begun(command: Command) -> bool:
    runs = command.directory / "runs"
    events = [event.kind for path in runs.glob("*") if (path / "environment.json").exists() for event in RunDirectory.open(path).events()]
    return events.count("context_trial") >= 2


def test_ctrl_c_ends_the_search_and_keeps_what_was_found(start_run: StartRun) -> None:
    command = start_run(SLOW)
    command.wait_for(lambda: begun(command))
    command.interrupt()
    assert command.wait() == 130
    summary = summarise(run_of(command))
    limits = summary.deployments[0].found[CONTEXT_LIMITS]
    assert limits and limits.ended == "interrupted" and limits.limits[0].passed_tokens
    assert not summary.complete
    command.assert_nothing_left()


def test_a_server_killed_in_a_trial_ends_the_search_with_its_class(start_run: StartRun) -> None:
    command = start_run(SLOW)
    command.wait_for(lambda: begun(command))
    (triton,) = command.children("tritonserver")
    triton.kill()
    assert command.wait() == 1
    summary = summarise(run_of(command))
    limits = summary.deployments[0].found[CONTEXT_LIMITS]
    assert limits and limits.ended == "server_lost"
    assert limits.trials[-1].failure == "server_died"
    assert "server_lost" in [finding.code for finding in summary.findings]
    command.assert_nothing_left()
