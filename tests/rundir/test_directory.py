from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rundir.test_records import request_records
from tests.support.records import request_of
from trtbench.rundir import directory, sealing
from trtbench.rundir.directory import DeploymentDirectory, RunDirectory
from trtbench.rundir.lines import LineWriter, RunDirectoryError, read_json, read_lines, sample_row, write_json, write_whole
from trtbench.rundir.records import FORMAT_VERSION, Environment, Event, RequestRecord, Sample
from trtbench.scenario.parts.part import RUN_FILES

samples = st.builds(
    Sample,
    time_ns=st.integers(0, 2**62),
    name=st.sampled_from(["kv_blocks_used", "triton_batch_executions", "gpu_power_w"]),
    label=st.sampled_from(["", "1", "8"]),
    value=st.floats(allow_nan=False, allow_infinity=False),
)
ENVIRONMENT = Environment("0.1.0", "2026-01-01T00:00:00+00:00", 1, 2, "hash", "Linux", "3.11", "cpu", 2, 1 << 34, [], "none", {}, {})


def write(directory: DeploymentDirectory, records: list[RequestRecord], readings: list[Sample]) -> None:
    requests, series = LineWriter(directory.requests_jsonl()), LineWriter(directory.samples_jsonl)
    for record in records:
        requests.write(record.to_json())
    if readings:
        series.write(*map(sample_row, readings))
    requests.close()
    series.close()


@given(st.lists(request_records(), max_size=8), st.lists(samples, max_size=20))
def test_lines_and_parquet_read_alike(records: list[RequestRecord], readings: list[Sample]) -> None:
    with tempfile.TemporaryDirectory() as path:
        directory = DeploymentDirectory(Path(path))
        write(directory, records, readings)
        assert directory.requests() == records
        before = directory.samples()
        directory.seal()
        assert {file.name for file in Path(path).iterdir()} == {"requests.parquet", "samples.parquet"}
        assert directory.requests() == records
        after = directory.samples()
        assert after.names() == before.names() == sorted({reading.name for reading in readings})
        for name in after.names():
            assert after.labels(name) == sorted({reading.label for reading in readings if reading.name == name})
            for label in after.labels(name):
                here = sorted(((r.time_ns, r.value) for r in readings if (r.name, r.label) == (name, label)), key=lambda pair: pair[0])
                for times, values in (before.series(name, label), after.series(name, label)):
                    assert list(zip(times.tolist(), values.tolist(), strict=True)) == here


def test_workers_have_a_file_each_and_are_sealed_together(tmp_path: Path) -> None:
    directory = DeploymentDirectory(tmp_path)
    records = [request_of(number, [number + 1], index=number, worker=number % 2) for number in range(6)]
    for worker in (0, 1):
        writer = LineWriter(directory.requests_jsonl(worker))
        writer.write(*(record.to_json() for record in records if record.worker == worker))
        writer.close()
    assert sorted(directory.requests(), key=lambda record: record.index) == records
    directory.seal()
    assert {file.name for file in tmp_path.iterdir()} == {"requests.parquet", "samples.parquet"}
    assert sorted(directory.requests(), key=lambda record: record.index) == records


def test_sealing_goes_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_ROWS_PER_GROUP", 3)
    monkeypatch.setattr(sealing, "_ROWS_PER_BATCH", 2)
    directory = DeploymentDirectory(tmp_path)
    readings = [Sample(number, "a", "", float(number)) for number in range(10)]
    write(directory, [], readings)
    directory.seal()
    assert directory.samples().series("a")[1].tolist() == list(map(float, range(10)))


def test_sealing_nothing_gives_empty_tables(tmp_path: Path) -> None:
    directory = DeploymentDirectory(tmp_path)
    directory.seal()
    assert directory.requests() == []
    assert directory.samples().names() == []
    times, values = directory.samples().series("none")
    assert len(times) == len(values) == 0


def test_sealing_twice_keeps_what_there_is(tmp_path: Path) -> None:
    directory = DeploymentDirectory(tmp_path)
    write(directory, [], [Sample(1, "a", "", 2.0)])
    directory.seal()
    LineWriter(directory.samples_jsonl).close()
    assert directory.samples().names() == ["a"]


@given(st.lists(st.integers(), max_size=5), st.integers(0, 60))
def test_a_torn_last_line_is_dropped(rows: list[int], cut: int) -> None:
    whole = "".join(json.dumps({"row": row}) + "\n" for row in rows)
    kept = whole[: max(0, len(whole) - cut)]
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_text(kept)
        assert [row["row"] for row in read_lines(Path(file.name))] == rows[: kept.count("\n")]


def test_lines_are_ascii_so_that_none_can_be_cut_inside_a_character(tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / "x.jsonl")
    writer.write({"text": "中文 ü"})
    writer.close()
    assert (tmp_path / "x.jsonl").read_bytes().isascii()
    assert list(read_lines(tmp_path / "x.jsonl")) == [{"text": "中文 ü"}]


_WRITE_MANY = """
import sys
from pathlib import Path
from trtbench.rundir.lines import LineWriter
writer = LineWriter(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
for line in range(500):
    writer.write({"writer": int(sys.argv[2]), "line": line, "padding": "x" * 200})
writer.close()
"""


@pytest.mark.process
@pytest.mark.timeout(60)
def test_several_processes_may_append_to_one_file(tmp_path: Path) -> None:
    path, pipes = tmp_path / "samples.jsonl", {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([sys.executable, "-c", _WRITE_MANY, str(path), str(number)], **pipes) for number in range(4)]  # type: ignore[call-overload]
    for process in writers:
        assert process.stdout.readline() == "ready\n"
    for process in writers:
        process.stdin.close()
    assert [process.wait() for process in writers] == [0] * 4
    rows = list(read_lines(path))
    assert len(rows) == 2000
    for number in range(4):
        assert [row["line"] for row in rows if row["writer"] == number] == list(range(500))


@pytest.mark.whole_run
def test_a_run_is_complete_when_it_says_so(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    run.write_environment(ENVIRONMENT)
    assert run.events() == []
    for time_ns, (kind, deployment) in enumerate([("run_started", ""), ("deployment_started", "b"), ("deployment_started", "a")]):
        run.append_event(Event(time_ns, kind, deployment))
    read = RunDirectory.open(tmp_path / "run")
    assert not read.is_complete()
    assert [directory.name for directory in read.deployments()] == ["b", "a"]
    assert read.environment() == ENVIRONMENT
    run.append_event(Event(9, "deployment_started", "b"))  # again: still one deployment
    run.append_event(Event(10, "run_finished"))
    assert read.is_complete()
    assert [directory.name for directory in read.deployments()] == ["b", "a"]


@pytest.mark.whole_run
def test_a_run_cut_off_while_it_wrote_is_readable(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    run.write_environment(ENVIRONMENT)
    run.append_event(Event(1, "run_started"))
    with (tmp_path / "run" / "events.jsonl").open("a") as file:
        file.write('{"time_ns":2,"kind":"run_fin')
    assert [event.kind for event in RunDirectory.open(tmp_path / "run").events()] == ["run_started"]


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"is not a run directory: it has no environment\.json"):
        RunDirectory.open(tmp_path)
    write_json(tmp_path / "environment.json", {"format_version": FORMAT_VERSION + 1})
    with pytest.raises(RunDirectoryError, match=rf"has format {FORMAT_VERSION + 1}, this trtbench reads 1 to {FORMAT_VERSION}"):
        RunDirectory.open(tmp_path)


def test_a_run_directory_is_made_once(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "runs" / "one")
    with pytest.raises(FileExistsError):
        RunDirectory.create(tmp_path / "runs" / "one")


def test_json_files_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_json(path, {"text": "中文"})
    with pytest.raises(TypeError):
        write_json(path, {"bad": object()})
    assert read_json(path) == {"text": "中文"}


def test_a_file_of_the_user_is_written_through_its_link_and_beside_files_of_any_name(tmp_path: Path) -> None:
    """A name next to it, as out.tmp, may be the user's; a device stays a device."""
    (target := tmp_path / "out.json").write_text("old")
    (link := tmp_path / "link.json").symlink_to(target)
    (other := tmp_path / "link.tmp").write_text("mine")
    write_whole(link, b"new")
    assert link.is_symlink() and (target.read_text(), other.read_text()) == ("new", "mine")
    (device := tmp_path / "null").symlink_to("/dev/null")
    write_whole(device, b"nothing")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match="missing") as caught:
        write_whole(tmp_path / "missing" / "out.md", b"")
    assert caught.value.filename == str(tmp_path / "missing" / "out.md")
    assert {path.name for path in tmp_path.iterdir()} == {"out.json", "link.json", "link.tmp", "null"}


def test_no_deployment_is_named_like_a_file_of_the_run_directory() -> None:
    """The names that the module's own description lists."""
    named = set(re.findall(r"[\w-]+\.(?:yaml|jsonl?|md|html|log|pbtxt|parquet)|plots|set-aside", directory.__doc__ or ""))
    assert len(named) > 12
    assert named - RUN_FILES <= {"worker.jsonl", "worker.log", "-worker.log", "-.jsonl"}
