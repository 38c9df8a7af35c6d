"""A damaged run directory is resumed, or refused in one sentence; never a traceback, and the report names what is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.rundir.test_damaged_runs import VALUES, cut, ends_of_kinds, flipped, garbage, holed
from tests.support.runs.facts import decoder_engine, environment
from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.summary import Summary, summarise
from trtbench.cli.main import main
from trtbench.errors import UserError
from trtbench.run import resume
from trtbench.run.log import resume_run
from trtbench.run.resume import open_unfinished
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.parts.choices import Dtype

pytestmark = [pytest.mark.whole_run, pytest.mark.timeout(120)]
ENGINES: dict[str, Dtype] = {"default-fp16": "fp16", "default-int8": "int8"}
FILES = ("events.jsonl", "scenario.yaml", "environment.json", *(f"default-fp16/{name}" for name in ("deployment.json", "engine.json")))
RECORDS = ("default-fp16/requests.parquet", "default-fp16/samples.parquet", "default-int8/requests-0.jsonl", "default-int8/samples.jsonl")
Damage = Callable[[bytes, random.Random], bytes]


@pytest.fixture(autouse=True)
def same_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "capture", lambda anchor: environment())


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("killed") / "run"
    write_synthetic_run(path, kill_in="c4", small=True)
    return path


@pytest.fixture
def run(killed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "run"))


def resumed(path: Path) -> Summary | None:
    """Up to where the first deployment would be served; None where it is refused with the place."""
    built = {name: decoder_engine(path.parent, dtype, "smollm2-135m") for name, dtype in ENGINES.items()}
    try:
        unfinished = open_unfinished(path)
        unfinished.check_engines(built)
        unfinished.check_plans(["a" * 64])
        log = resume_run(unfinished.run, [], lambda event: None)
        unfinished.set_aside(log, list(ENGINES))
    except UserError as error:
        assert str(path) in str(error) or "scenario" in str(error), error
        return None
    return summarise(RunDirectory.open(path))


def damages(summary: Summary) -> set[object]:
    return {reason.figures["file"] for reason in summary.verdict.reasons if reason.code.startswith("damaged")}


@pytest.mark.parametrize("name", (*FILES, *RECORDS))
@pytest.mark.parametrize("damage", [cut, flipped, garbage])
def test_a_damaged_file(run: Path, killed: Path, name: str, damage: Damage) -> None:
    for seed in range(2):
        shutil.rmtree(run)
        shutil.copytree(killed, run)
        content = damage((killed / name).read_bytes(), random.Random(f"{name}{seed}"))
        (run / name).write_bytes(content)
        summary = resumed(run)
        if summary and name.endswith("requests.parquet") and damage is not flipped:
            assert name in damages(summary)


@pytest.mark.parametrize("name", (*FILES, *RECORDS))
def test_a_missing_file(run: Path, name: str) -> None:
    (run / name).unlink()
    summary = resumed(run)
    if name in ("events.jsonl", "scenario.yaml", "environment.json"):
        assert summary is None
    else:
        assert summary and (name.startswith("default-int8") or name in damages(summary))


@pytest.mark.parametrize("name", (*FILES, *RECORDS))
def test_what_is_no_file_is_not_waited_for(run: Path, name: str) -> None:
    for make in (os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")):
        (run / name).rmdir() if (run / name).is_dir() else (run / name).unlink(missing_ok=True)
        (run / name).parent.mkdir(exist_ok=True)  # the attempt was set aside
        make(run / name)
        resumed(run)


def test_lines_lost_amid_the_events_are_named_and_the_run_goes_on(run: Path, killed: Path) -> None:
    for seed in range(6):
        shutil.rmtree(run)
        shutil.copytree(killed, run)
        (run / "events.jsonl").write_bytes(holed((killed / "events.jsonl").read_bytes(), random.Random(seed)))
        summary = resumed(run)
        assert summary is None or "events.jsonl" in damages(summary)


def test_lines_lost_amid_the_records_are_those_of_an_attempt_that_is_done_again(run: Path) -> None:
    path = run / "default-int8" / "requests-0.jsonl"
    path.write_bytes(holed(path.read_bytes(), random.Random(1)))
    summary = resumed(run)
    assert summary and not damages(summary)
    assert (run / "set-aside" / "default-int8-1" / "requests-0.jsonl").is_file()


@pytest.mark.parametrize("place", range(6))
def test_edited_events(run: Path, killed: Path, place: int) -> None:
    rows = [json.loads(line) for line in (killed / "events.jsonl").read_text().splitlines()]
    rows.append({"time_ns": 1, "kind": "plan_drawn", "deployment": "", "data": {"sha256": "a" * 64, "notes": []}})
    for number in ends_of_kinds(rows)[place::6]:
        for key in [*rows[number], *(f"data.{key}" for key in rows[number]["data"])]:
            value = random.Random(key + rows[number]["kind"]).choice(VALUES)
            row = json.loads(json.dumps(rows[number]))
            at, name = (row["data"], key[5:]) if key.startswith("data.") else (row, key)
            at[name] = value
            lines = [json.dumps(one) + "\n" for one in [*rows[:number], row, *rows[number + 1 :]]]
            shutil.rmtree(run)
            shutil.copytree(killed, run)
            (run / "events.jsonl").write_text("".join(lines))
            resumed(run)


def test_a_deployment_that_the_scenario_does_not_have(run: Path) -> None:
    """An event of another run, with a directory of that name."""
    shutil.copytree(run / "default-fp16", run / "other-fp16")
    with (run / "events.jsonl").open("a") as events:
        events.write('{"time_ns": 1, "kind": "deployment_started", "deployment": "other-fp16", "data": {}}\n')
    assert resumed(run) is None


@pytest.mark.parametrize("name", ["events.jsonl", "scenario.yaml", "environment.json"])
def test_the_command_ends_with_2_and_a_sentence(run: Path, name: str) -> None:
    (run / name).write_bytes(b"\xff\xfe{")
    result = CliRunner().invoke(main, ["serve-and-bench", "--resume", str(run)])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and str(run) in result.stderr
