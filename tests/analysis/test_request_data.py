from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.request_data import RequestData, input_reasons, request_data
from trtbench.analysis.summary import summarise
from trtbench.report.kit.words import Words
from trtbench.report.sections.parameters import request_data_tables
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import LeftOutRows
from trtbench.rundir.records import Event
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario


def scenario(**workload: Any) -> Scenario:
    return parse_scenario({"name": "x", "load": [{"concurrency": 1, "requests": 1}], "workload": workload}, "x")


def drawn(rows: int, left_out: int, path: str = "/data/chats.json") -> Event:
    reasons = [{"reason": "prompt is empty", "rows": left_out, "first": [f"{path}:3"]}] if left_out else []
    return Event(
        0,
        "plan_drawn",
        "",
        {"sha256": "0", "notes": [], "inputs": [{"path": path, "rows": rows, "left_out": left_out, "reasons": reasons}]},
    )


@pytest.mark.parametrize(("left_out", "grades"), [(0, []), (10, [("input_left_out", "note")]), (11, [("input_left_out_much", "suspect")])])
def test_above_a_tenth_the_verdict_doubts_the_load(left_out: int, grades: list[tuple[str, str]]) -> None:
    found = request_data([drawn(100, left_out)], scenario())
    assert [(reason.code, reason.grade) for reason in input_reasons(found, scenario())] == grades


def test_a_file_of_several_plans_is_there_once() -> None:
    (one,) = request_data([drawn(9, 1), drawn(9, 2), Event(0, "plan_drawn", "", {"sha256": "0", "notes": []})], scenario())
    assert one == RequestData("/data/chats.json", 9, 2, (LeftOutRows("prompt is empty", 2, ("/data/chats.json:3",)),))


def test_lengths_of_a_file_and_lengths_that_are_not_used() -> None:
    asked = scenario(output_tokens={"values": [5, 9], "weights": [3, 4], "left_out": 3}, input_tokens=7, dataset="chats.json")
    (one,) = request_data([], asked)
    assert (one.path, one.rows, one.left_out) == ("workload.output_tokens", 10, 3)
    assert [reason.code for reason in input_reasons((one,), asked)] == ["input_left_out_much", "input_tokens_unused"]


@pytest.mark.whole_run
def test_the_report_has_the_rows_that_were_left_out(tmp_path: Path) -> None:
    run = RunDirectory.open(write_synthetic_run(tmp_path / "run").run.path)
    assert summarise(run).request_data == ()
    run.append_event(drawn(100, 40))
    summary = summarise(run)
    assert summary.verdict.status != "VALID"
    (table,) = request_data_tables(summary, Words("en"))
    assert table.rows == (("chats.json", "100", "40", "40%", "prompt is empty", "chats.json:3"),)
    assert summary.to_json()["request_data"][0]["left_out"] == 40
