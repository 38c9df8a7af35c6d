"""Damaged run directories: what can be read is reported and marked, what cannot is named; never a traceback, never a silent drop."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.records import MS, S, request_of
from tests.support.runs.written_run import Served, window, write_run
from trtbench.analysis.summary import Summary, summarise
from trtbench.errors import UserError
from trtbench.report.kit.words import Words
from trtbench.report.sections.sections import document
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Event, Outcome, RequestRecord
from trtbench.scenario.reading import parse_scenario

pytestmark = pytest.mark.whole_run

SAMPLED = ("kv_blocks_used", "kv_blocks_max", "kv_block_tokens", "server_rss_bytes", "inflight_scheduled_requests", "triton_success_count")
RELOAD = {"number": 1, "reload": "changed_config", "to": None, "ok": True, "version": "1", "load_s": 0.5, "loaded_s": 0.5}
EVENTS = (
    Event(S, "reload_started", "", RELOAD),
    Event(S, "model_versions", "", {"versions": {"1": "READY"}}),
    Event(S + S // 2, "reload_finished", "", RELOAD),
    Event(3 * S, "telemetry_finished", "", {"sources": {"triton_metrics": {"readings": 9, "failures": 0, "last_error": ""}}}),
)


def records() -> list[RequestRecord]:
    made = [request_of(i * 50 * MS, [(i * 50 + 20 + 5 * n) * MS for n in range(4)], index=i, stage="c1") for i in range(40)]
    made[3] = request_of(150 * MS, [], Outcome.REJECTED, index=3, error="queue full")
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    asked = parse_scenario({"name": "x", "engines": ["int8"], "load": [{"concurrency": 1, "requests": 40}]}, "x")
    series = {(name, ""): [(at * 100 * MS, 16.0 + at) for at in range(40)] for name in SAMPLED}
    write_run(path, asked, Served(records(), [window("c1", 0, 3 * S, 40)], series, EVENTS))
    return path


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def unsealed(path: Path) -> Path:
    """The same run as a kill leaves it."""
    directory = path / "default-int8"
    for name, columns in (("requests", None), ("samples", ("time_ns", "name", "label", "value"))):
        rows = pq.read_table(directory / f"{name}.parquet").to_pylist()
        lines = [[row[column] for column in columns] if columns else row for row in rows]
        (directory / f"{name}{'-0' if name == 'requests' else ''}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (directory / f"{name}.parquet").unlink()
    return path


def report(path: Path) -> Summary | None:
    """As `trtbench report` makes it, without its figures; None for a UserError, which ends it with 2 and names what is wrong."""
    try:
        summary = summarise(RunDirectory.open(path))
    except UserError as error:
        assert str(path) in str(error) or any(name in str(error) for name in ("scenario", "load", "workload"))
        return None
    json.dumps(summary.to_json())
    document(summary, Words("en", summary.scenario.task), ())
    return summary


def codes(path: Path) -> dict[str, Any]:
    summary = report(path)
    assert summary
    return {reason.code: reason for reason in summary.verdict.reasons}


def test_a_whole_run_has_no_damage(run: Path) -> None:
    assert not [code for code in codes(run) if code.startswith("damaged")]
    assert not [code for code in codes(unsealed(run)) if code.startswith("damaged")]


FILES = ("events.jsonl", "scenario.yaml", "environment.json", *(f"default-int8/{n}" for n in ("deployment.json", "engine.json")))
SEALED = (*FILES, "default-int8/requests.parquet", "default-int8/samples.parquet")
LINES = ("default-int8/requests-0.jsonl", "default-int8/samples.jsonl", "events.jsonl")


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(4)
    return bytes(changed)


def garbage(content: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([0, 1, 100, 5000]))


def holed(content: bytes, rng: random.Random) -> bytes:
    """Lines replaced, in the middle too."""
    lines = content.splitlines(keepends=True)
    for _ in range(3):
        lines[rng.randrange(len(lines))] = rng.choice([b"{\n", b"\xff\xfe\n", b"null\n", b"[]\n", b"7\n", b'{"time_ns": 1e999}\n', b"\n"])
    return b"".join(lines)


@pytest.mark.parametrize("name", SEALED)
def test_every_file_missing(run: Path, name: str) -> None:
    (run / name).unlink()
    if name in ("scenario.yaml", "environment.json"):
        with pytest.raises(UserError, match=name.split(".")[0]):
            summarise(RunDirectory.open(run))
        return
    reason = codes(run)["damaged_missing"]
    assert reason.figures["file"] == name
    assert reason.grade == ("note" if "engine" in name or "samples" in name else "invalid")


@pytest.mark.parametrize("name", SEALED)
def test_what_is_no_file_is_not_waited_for(run: Path, name: str) -> None:
    """A pipe without a writer, a device without an end, a directory."""
    for make in (os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")):
        (run / name).unlink()
        make(run / name)
        if name in ("scenario.yaml", "environment.json", "events.jsonl"):
            with pytest.raises(UserError, match=name.split(".")[0]):
                summarise(RunDirectory.open(run))
        else:
            assert codes(run)["damaged_unreadable"].figures["file"] == name
        if (run / name).is_dir():
            (run / name).rmdir()
            (run / name).touch()


@pytest.mark.parametrize(
    ("file", "column", "values"),
    [
        ("samples", "label", pa.array([1.5])),
        ("samples", "time_ns", pa.array([True])),
        ("samples", "name", pa.array([7])),
        ("samples", "value", pa.nulls(1)),
        ("requests", "stage", pa.array([7])),
        ("requests", "warmup", pa.array([1])),
        ("requests", "due_ns", pa.array(["x"])),
        ("requests", "token_ns", pa.array([["x"]])),
    ],
)
def test_a_column_of_another_type_is_named(run: Path, file: str, column: str, values: pa.Array) -> None:
    path = run / f"default-int8/{file}.parquet"
    table = pq.read_table(path)
    made = pa.chunked_array([pa.concat_arrays([values] * table.num_rows)])
    pq.write_table(table.set_column(table.column_names.index(column), column, made), path)
    reason = codes(run)["damaged_rows"]
    assert (reason.figures["file"], reason.figures["count"]) == (f"default-int8/{file}.parquet", table.num_rows)


def test_columns_that_every_run_has_are_missed(run: Path) -> None:
    path = run / "default-int8/requests.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["output_ids", "token_ns", "worker"]), path)
    reason = codes(run)["damaged_columns"]
    assert (reason.grade, reason.figures["why"]) == ("suspect", "token_ns, output_ids")


def test_the_requests_of_another_deployment_are_reported(run: Path) -> None:
    path = run / "default-int8/requests.parquet"
    table = pq.read_table(path)
    later = pa.array([None if sent is None else sent + 10**14 for sent in table["sent_ns"].to_pylist()], pa.int64())
    pq.write_table(table.set_column(table.column_names.index("sent_ns"), "sent_ns", later), path)
    reason = codes(run)["damaged_foreign"]
    assert (reason.grade, reason.figures["count"]) == ("invalid", 39)  # the rejected one was not sent


def test_the_samples_of_another_deployment_are_named(run: Path) -> None:
    path = run / "default-int8/samples.parquet"
    table = pq.read_table(path)
    later = pa.array([time + 2 * 10**14 for time in table["time_ns"].to_pylist()], pa.int64())
    pq.write_table(table.set_column(table.column_names.index("time_ns"), "time_ns", later), path)
    reason = codes(run)["damaged_foreign_samples"]
    assert (reason.grade, reason.figures["count"]) == ("suspect", table.num_rows)
    assert reason.figures["file"] == "default-int8/samples.parquet"


def test_a_text_column_in_another_encoding_is_read(run: Path) -> None:
    path = run / "default-int8/samples.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, "name", table["name"].dictionary_encode()), path)
    assert not [code for code in codes(run) if code.startswith("damaged")]


@pytest.mark.parametrize("damage", [cut, flipped, garbage])
@pytest.mark.parametrize("name", SEALED)
def test_every_file_damaged(run: Path, whole: Path, name: str, damage: Callable[[bytes, random.Random], bytes]) -> None:
    for seed in range(3):
        content = damage((whole / name).read_bytes(), random.Random(f"{name}{seed}"))
        (run / name).write_bytes(content)
        summary = report(run)
        if summary and name.endswith(".parquet") and damage is not flipped:
            assert any(reason.code.startswith("damaged") and reason.figures["file"] == name for reason in summary.verdict.reasons)


@pytest.mark.parametrize("damage", [cut, flipped, holed, garbage])
@pytest.mark.parametrize("name", LINES)
def test_lines_damaged(run: Path, name: str, damage: Callable[[bytes, random.Random], bytes]) -> None:
    unsealed(run)
    content = (run / name).read_bytes()
    for seed in range(3):
        (run / name).write_bytes(damage(content, random.Random(seed)))
        summary = report(run)
        assert summary
        named = [reason for reason in summary.verdict.reasons if reason.code.startswith("damaged")]
        if damage is holed:
            assert {reason.figures["file"] for reason in named} == {name}


VALUES: tuple[Any, ...] = (None, "x", -1, 2**70, 1e300, True, [], {}, [None], {"a": None})


def ends_of_kinds(rows: list[dict[str, Any]]) -> list[int]:
    """The numbers of the first and the last event of each kind."""
    first = {row["kind"]: number for number, row in reversed([*enumerate(rows)])}
    last = {row["kind"]: number for number, row in enumerate(rows)}
    return sorted({*first.values(), *last.values()})


@pytest.mark.parametrize("place", range(10))
def test_edited_events(run: Path, place: int) -> None:
    """Every key of the first and the last event of each kind gets wrong values, and goes."""
    path = run / "events.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for number in ends_of_kinds(rows)[place::10]:
        for key in [*rows[number], *(f"data.{key}" for key in rows[number]["data"])]:
            for value in (*VALUES, "gone"):
                row = json.loads(json.dumps(rows[number]))
                at, name = (row["data"], key[5:]) if key.startswith("data.") else (row, key)
                at[name] = value
                if value == "gone":
                    del at[name]
                path.write_text("".join(json.dumps(one) + "\n" for one in [*rows[:number], row, *rows[number + 1 :]]))
                assert report(run), (row, key, value)


@pytest.mark.parametrize("name", ["deployment.json", "engine.json"])
def test_edited_facts(run: Path, name: str) -> None:
    path = run / "default-int8" / name
    facts = json.loads(path.read_text())
    for key in (*facts, "kv_blocks", "log", "tokens", "servers", "kv_bytes_per_token", "traits", "unanswered_calls"):
        for value in VALUES:
            path.write_text(json.dumps(facts | {key: value}))
            assert report(run), (key, value)


@pytest.mark.parametrize("place", range(4))
def test_edited_records(run: Path, place: int) -> None:
    path = unsealed(run) / "default-int8" / "requests-0.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    row = json.loads(lines[5])
    for key in list(row)[place::4]:
        for value in VALUES:
            path.write_text("".join([*lines[:5], json.dumps(row | {key: value}) + "\n", *lines[6:]]))
            assert report(run), (key, value)


def test_values_that_no_column_holds_do_not_keep_a_run_from_being_sealed(run: Path) -> None:
    """A number beyond 64 bits is cut to the range, a wrong type left empty, and what is no request left out: each counted."""
    directory = RunDirectory.open(unsealed(run)).deployment("default-int8")
    path = directory.requests_jsonl()
    lines = path.read_text().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines]
    huge = rows[4] | {"session": 2**70, "server": {"arrival_ns": -(2**80)}, "error": "\ud800"}
    odd = rows[5] | {"output_ids": ["x"], "mix": 7}
    lost = rows[6] | {"token_counts": [1]}
    path.write_text("".join([*lines[:4], *(json.dumps(row) + "\n" for row in (huge, odd, lost)), "{\n", *lines[8:]]))
    directory.seal()
    assert not path.exists()
    records_ = {record.index: record for record in directory.requests()}
    assert records_.keys() == {*range(40)} - {6, 7}
    assert (records_[4].session, records_[4].error, records_[5].output_ids, records_[5].mix) == (2**63 - 1, "?", [], "")
    found = codes(run)
    assert (found["damaged_rows"].figures["count"], found["damaged_values"].figures["count"]) == (2, 2)
    assert found["equation"].figures["unrecorded"] == 2
