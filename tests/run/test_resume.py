"""A run that was broken off goes on: what is done stays, what was begun is set aside, and what changed meanwhile is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.records import MS, S
from tests.support.runs.facts import decoder_engine, environment
from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.summary import summarise
from trtbench.cli.main import main
from trtbench.report.document import write_reports
from trtbench.run import resume
from trtbench.run.log import resume_run
from trtbench.run.resume import open_unfinished
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import DeploymentStarted, RunFinished
from trtbench.rundir.lines import RunDirectoryError
from trtbench.rundir.records import Environment, Event
from trtbench.rundir.sessions import current, finished, is_complete, is_interrupted, length_s, sessions
from trtbench.scenario.parts.choices import Dtype

pytestmark = pytest.mark.whole_run

ENGINES: dict[str, Dtype] = {"default-fp16": "fp16", "default-int8": "int8"}


@pytest.fixture(autouse=True)
def same_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "capture", lambda anchor: environment())


def killed(path: Path) -> Path:
    write_synthetic_run(path, kill_in="c4", small=True)
    return path


@pytest.mark.usefixtures("sketched_figures")
def test_what_is_done_stays_and_what_was_begun_is_set_aside(tmp_path: Path) -> None:
    path = killed(tmp_path / "run")
    before = summarise(RunDirectory.open(path))
    unfinished = open_unfinished(path)
    assert unfinished.done == {"default-fp16"}
    log = resume_run(unfinished.run, ["trtbench", "serve-and-bench", "--resume"], lambda event: None)
    unfinished.set_aside(log, list(ENGINES))
    assert [directory.name for directory in log.run.deployments()] == ["default-fp16"]
    assert (path / "set-aside" / "default-int8-1" / "requests-0.jsonl").is_file()
    assert not (path / "default-int8").exists()
    after = summarise(log.run)
    assert after.deployments == before.deployments[:1]
    assert not after.complete
    log.run.deployment("default-int8")
    log.write(DeploymentStarted(dtype="int8"), "default-int8")
    unfinished.set_aside(log, list(ENGINES))
    assert (path / "set-aside" / "default-int8-2").is_dir()
    (reason,) = [reason for reason in after.verdict.reasons if reason.code == "resumed"]
    assert reason.figures["again"] == "default-int8"
    for language in ("en", "zh"):
        write_reports(log.run, after, language, ["md"])  # type: ignore[arg-type]
        assert "default-int8" in (path / "report.md").read_text(encoding="utf-8")


def test_a_killed_rename_is_made_good(tmp_path: Path) -> None:
    """Killed after the rename and before its event: the attempt is given up all the same."""
    path = killed(tmp_path / "run")
    (path / "default-int8").rename(path / "elsewhere")
    unfinished = open_unfinished(path)
    log = resume_run(unfinished.run, [], lambda event: None)
    unfinished.set_aside(log, list(ENGINES))
    assert [directory.name for directory in log.run.deployments()] == ["default-fp16"]


def test_a_torn_event_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = killed(tmp_path / "run")
    before = RunDirectory.open(path).events()
    with (path / "events.jsonl").open("a") as events:
        events.write('{"time_ns":1,"ki')
    resume_run(open_unfinished(path).run, [], lambda event: None)
    assert RunDirectory.open(path).events()[:-1] == before
    assert RunDirectory.open(path).events()[-1].kind == "run_resumed"


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = killed(tmp_path / "run")
    first = open_unfinished(path)
    with pytest.raises(RunDirectoryError, match="being run by another process"):
        open_unfinished(path)
    assert first.done


def test_no_run_and_a_finished_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        open_unfinished(tmp_path)
    write_synthetic_run(tmp_path / "run", small=True)
    with pytest.raises(RunDirectoryError, match="is finished"):
        open_unfinished(tmp_path / "run")
    (tmp_path / "run" / "scenario.yaml").unlink()
    with pytest.raises(RunDirectoryError, match="before its first event"):
        open_unfinished(tmp_path / "run")


def test_a_bench_run_is_refused(tmp_path: Path) -> None:
    path = killed(tmp_path / "run")
    RunDirectory.open(path).deployment("default-int8").write_json("deployment.json", {"mode": "external"})
    with pytest.raises(RunDirectoryError, match="trtbench bench"):
        open_unfinished(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"trtbench_version": "9.0"}, "trtbench_version was 0.1.0, is 9.0"),
        ({"cpu_count": 64}, "cpu_count was 2, is 64"),
        ({"packages": {"nvidia-pytriton": "0.7.0"}}, "'openvino-genai': '2026.4.1'}, is {'openvino-genai': None}"),
    ],
)
def test_another_machine_or_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], told: str) -> None:
    path = killed(tmp_path / "run")
    changed: Environment = replace(environment(), **change)
    monkeypatch.setattr(resume, "capture", lambda anchor: changed)
    with pytest.raises(RunDirectoryError) as error:
        open_unfinished(path)
    assert told in str(error.value)


def test_another_engine_or_plan_is_refused(tmp_path: Path) -> None:
    path = killed(tmp_path / "run")
    run = RunDirectory.open(path)
    run.append_event(Event(S, "plan_drawn", "", {"sha256": "a" * 64, "notes": []}))
    run._event_lines.close()
    unfinished = open_unfinished(path)
    engines = {name: decoder_engine(tmp_path, dtype, "smollm2-135m") for name, dtype in ENGINES.items()}
    unfinished.check_engines(engines)
    unfinished.check_plans(["a" * 64])
    with pytest.raises(RunDirectoryError, match="plan drawn now has hash bbbbbbbbbbbb"):
        unfinished.check_plans(["b" * 64])
    with pytest.raises(RunDirectoryError, match="the int8 engine has hash 0000"):
        unfinished.check_engines(engines | {"default-int8": replace(engines["default-int8"], sha256="0" * 64)})


def test_instants_of_two_sessions_are_never_subtracted() -> None:
    """The machine was booted anew: the second session's clock is behind the first's."""
    events = [
        Event(100 * S, "run_started"),
        Event(101 * S, "deployment_started", "a"),
        Event(102 * S, "deployment_finished", "a", {"ended": "done"}),
        Event(103 * S, "deployment_started", "b"),
        Event(104 * S, "interrupted", "b", {"level": 1}),
        Event(105 * S, "deployment_finished", "b", {"ended": "interrupted"}),
        Event(7 * S, "run_resumed", "", {"gap_s": 60.0}),
        Event(7 * S + MS, "attempt_set_aside", "b", {"to": "set-aside/b-1"}),
        Event(8 * S, "deployment_started", "b"),
        Event(9 * S, "deployment_finished", "b", {"ended": "done"}),
    ]
    assert length_s(events) == 7.0
    assert finished(events[:6]) == {"a"} and finished(events) == {"a", "b"}
    assert is_interrupted(events[:6]) and not is_interrupted(events)
    assert not is_complete([*events[:6], Event(106 * S, "run_finished"), *events[6:]])
    assert is_complete([*events, Event(10 * S, "run_finished")])
    assert [event.kind for event in current(events) if event.deployment == "b"] == [
        "deployment_started",
        "deployment_finished",
    ]
    assert [len(session) for session in sessions(events)] == [6, 4]


def test_the_gap_is_measured_by_the_wall_clock(tmp_path: Path) -> None:
    path = killed(tmp_path / "run")
    run = RunDirectory.open(path)
    log = resume_run(run, [], lambda event: None)
    last = run.events()[-2]
    resumed = run.events()[-1]
    was_wall_ns = environment().anchor_wall_ns + last.time_ns - environment().anchor_monotonic_ns
    assert resumed.data["gap_s"] == max(0.0, (resumed.data["anchor_wall_ns"] - was_wall_ns) / S)
    log.write(RunFinished())
    resume_run(run, [], lambda event: None)
    assert run.events()[-1].data["gap_s"] >= 0


@pytest.mark.parametrize("more", [["quickstart"], ["--set", "name=x"], ["--dry-run"], ["--runs", "elsewhere"]])
def test_resume_takes_no_other_scenario(tmp_path: Path, more: list[str]) -> None:
    result = CliRunner().invoke(main, ["serve-and-bench", "--resume", str(tmp_path), *more])
    assert result.exit_code == 2 and "leave out" in result.stderr
    assert "give a SCENARIO" in CliRunner().invoke(main, ["serve-and-bench"]).stderr
