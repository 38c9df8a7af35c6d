"""Exports of a run with failures, warm-ups and several deployments."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import get_args

import pytest

from tests.support.records import MS, S, request_of
from tests.support.runs.synthetic_run import write_synthetic_run
from tests.support.runs.written_run import Served, window, write_run
from trtbench.errors import UserError
from trtbench.export.requests_csv import COLUMNS
from trtbench.export.writers import WRITERS, export_run
from trtbench.rundir.lines import RunDirectoryError
from trtbench.rundir.records import Outcome
from trtbench.scenario.parts.choices import ExportFormat
from trtbench.scenario.reading import parse_scenario

pytestmark = pytest.mark.whole_run


def test_the_command_line_knows_every_writer() -> None:
    assert get_args(ExportFormat) == tuple(WRITERS)


@pytest.mark.parametrize("name", WRITERS)
def test_each_stage_of_each_deployment_has_a_folder(name: str, tmp_path: Path) -> None:
    made = write_synthetic_run(tmp_path / "run", small=True, mixed=True)
    folders = {path.parent.relative_to(tmp_path / "out") for path in export_run(tmp_path / "run", WRITERS[name], tmp_path / "out")}
    stages = [stage.label for stage in made.scenario.load]
    assert folders == {Path(deployment) / stage for deployment in made.requests for stage in stages}
    for path in (tmp_path / "out").rglob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)


def test_a_failed_request_is_in_the_files_as_one(tmp_path: Path) -> None:
    good = request_of(S, [S + 10 * MS, S + 20 * MS], index=0)
    failed = request_of(2 * S, [], Outcome.UNAVAILABLE, index=1, error='=cmd("x") \x1b[31m')
    unsent = request_of(3 * S, [], Outcome.NEVER_SENT, index=2, sent_ns=None, done_ns=None)
    scenario = parse_scenario({"name": "x", "engines": ["int8"], "load": [{"concurrency": 1, "requests": 3}]}, "x")
    write_run(tmp_path / "run", scenario, Served([good, failed, unsent], [window("c1", 0, 4 * S, 3)]))
    files = {name: list(export_run(tmp_path / "run", WRITERS[name], tmp_path / name)) for name in WRITERS}

    summary = json.loads(files["aiperf"][0].read_text())
    assert (summary["request_count"]["avg"], summary["error_request_count"]["avg"]) == (1.0, 2.0)
    assert summary["error_summary"][0] == {"error_details": {"type": "unavailable", "message": failed.error}, "count": 1}
    records = [json.loads(line) for line in files["aiperf"][2].read_text().splitlines()]
    assert [record.get("error", {}).get("type") for record in records] == [None, "unavailable"]

    result = json.loads(files["vllm"][0].read_text())
    assert (result["completed"], result["failed"], result["output_lens"], result["errors"][1]) == (1, 2, [2, 0, 0], failed.error)
    assert result["ttfts"] == [0.01, 0.0, 0.0]

    report = json.loads(files["trtllm-bench"][0].read_text())
    assert report["request_info"]["num_requests"] == 1
    assert report["streaming_metrics"]["ttft_percentiles"]["p99"] == 10.0

    rows = list(csv.reader(files["csv"][0].read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [row[3] for row in rows[1:]] == ["completed", "unavailable", "never_sent"]
    assert rows[2][4].startswith("'=cmd")  # a spreadsheet would compute it
    assert rows[1][7:] == ["0.000000", "0.000000", "10.000000", "10.000000", "20.000000"]


def test_requests_that_cannot_be_read_are_named_after_the_others_are_written(tmp_path: Path) -> None:
    made = write_synthetic_run(tmp_path / "run", small=True)
    first, *_ = made.requests
    (tmp_path / "run" / first / "requests.parquet").write_bytes(b"PAR1")
    written = []
    with pytest.raises(RunDirectoryError, match=rf"{first}/requests.parquet \(unreadable\); the files written here lack"):
        for path in export_run(tmp_path / "run", WRITERS["csv"], tmp_path / "out"):
            written.append(path)
    assert written and not [path for path in written if first in path.parts]


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    scenario = parse_scenario({"name": "x", "engines": ["int8"], "load": [{"concurrency": 1, "requests": 1}]}, "x")
    write_run(tmp_path / "empty", scenario, Served([]))
    with pytest.raises(UserError, match="has no measured requests, so there is nothing to export"):
        list(export_run(tmp_path / "empty", WRITERS["csv"], tmp_path / "out"))
    with pytest.raises(UserError, match=r"--output .*empty: this path exists; name a new directory"):
        list(export_run(tmp_path / "empty", WRITERS["csv"], tmp_path / "empty"))
    with pytest.raises(RunDirectoryError, match="is not a run directory"):
        list(export_run(tmp_path, WRITERS["csv"], tmp_path / "out"))
    write_run(tmp_path / "odd", scenario, Served([request_of(S, [S + 1], stage="../up")]))
    with pytest.raises(RunDirectoryError, match=r"of the name '\.\./up', which cannot be a folder"):
        list(export_run(tmp_path / "odd", WRITERS["csv"], tmp_path / "out"))
