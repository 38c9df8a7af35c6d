"""Figures over rounds: planted latencies whose mean and interval are known, rounds that were left out, and decisions during the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.runs.repeated_run import OUTPUT_TOKENS, STAGES, repeated_scenario, rounds
from tests.support.runs.written_run import write_run
from trtbench.analysis.measured_rounds import measured_in_rounds
from trtbench.analysis.summary import Summary, summarise
from trtbench.errors import UserError
from trtbench.experiments.repeats.analysis import REPEATS
from trtbench.experiments.repeats.run import RUN
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.words import Words
from trtbench.report.sections.core import core_table
from trtbench.report.sections.sections import document
from trtbench.run.log import RunLog
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.events import every
from trtbench.rundir.experiment_events import RoundsDecided
from trtbench.scenario.scenario import Scenario

pytestmark = pytest.mark.whole_run
MS = 1_000_000
STEADY, NOISY = [100, 102, 104], [100, 200, 300]


def summary_of_rounds(path: Path, latencies_ms: dict[str, list[int]], repeats: Any = 3) -> Summary:
    write_run(path, repeated_scenario(repeats), *rounds(latencies_ms))
    return summarise(RunDirectory.open(path))


def test_each_figure_is_the_mean_over_rounds_with_students_interval(tmp_path: Path) -> None:
    summary = summary_of_rounds(tmp_path / "run", {"c1": STEADY, "second": NOISY})
    found = summary.found[REPEATS]
    assert found
    (deployment,) = found.deployments
    assert (deployment.deployment, deployment.dtype) == ("default", "int8")
    assert deployment.rounds == ("default-r1-int8", "default-r2-int8", "default-r3-int8")
    assert deployment.left_out == ()
    c1, second = (stage.figures for stage in deployment.stages)
    latency = c1["e2e_latency.p50"]
    assert (latency.mean, latency.count) == (102 * MS, 3)
    assert latency.half_width == pytest.approx(4.303 * 2 * MS / 3**0.5)
    assert second["ttft.p50"].mean == pytest.approx(200 * MS / OUTPUT_TOKENS)
    rates = [1000 / ms for ms in STEADY]
    assert c1["request_throughput"].mean == pytest.approx(sum(rates) / 3)
    assert c1["completed"].half_width == 0


def test_summary_json_and_tables_have_each_stage_once(tmp_path: Path) -> None:
    summary = summary_of_rounds(tmp_path / "run", {"c1": STEADY, "second": NOISY})
    tree = summary.to_json()
    assert tree["repeats"]["deployments"][0]["stages"][0]["figures"]["e2e_latency.p50"]["mean"] == 102 * MS
    assert len(tree["deployments"]) == 3, "and the rounds"
    _, rows = core_table(summary, "en")
    assert [row[:2] for row in rows] == [("default-int8", stage) for stage in STAGES]
    assert any("102 ± 4.97" in cell for cell in rows[0])
    content = document(summary, Words("en"), ())
    appendix = next(section for section in content.sections if section.title == "Appendix: single rounds")
    assert appendix.folded
    assert "default-r3-int8" in str(appendix)
    assert "default-r3-int8" not in str([section for section in content.sections if section.title in ("Key metrics", "Latency")])
    assert "3 whole rounds of 3" in str(content)
    document(summary, Words("zh"), ())


def test_a_round_that_was_not_finished_is_left_out_and_said(tmp_path: Path) -> None:
    summary = summary_of_rounds(tmp_path / "run", {"c1": [100, 102, 900], "second": [100, 102]})
    found = summary.found[REPEATS]
    assert found
    assert found.deployments[0].left_out == ("default-r3-int8",)
    assert found.deployments[0].stages[0].figures["e2e_latency.p50"].mean == 101 * MS
    assert ("rounds_left_out", "default-int8") in {(reason.code, reason.deployment) for reason in summary.verdict.reasons}


def test_one_round_is_a_reason_for_doubt_and_a_load_without_rounds_has_none(tmp_path: Path) -> None:
    summary = summary_of_rounds(tmp_path / "run", {"c1": [100], "second": [100]}, repeats=2)
    assert "one_round" in {reason.code for reason in summary.verdict.reasons}
    found = measured_in_rounds(summary.deployments, summary.scenario)
    assert [(one.name, list(one.rounds)) for one in found] == [("default-int8", [1])]


def test_precisions_are_compared_within_each_round(tmp_path: Path) -> None:
    """The machine gets slower from round to round, one precision is always twice as fast: no doubt about the ratio."""
    slow = {"c1": [200, 300, 400], "second": [200, 300, 400]}
    fast = {stage: [ms // 2 for ms in latencies] for stage, latencies in slow.items()}
    scenario = repeated_scenario(3, engines=["fp16", "int8"])
    write_run(tmp_path / "run", scenario, *rounds(slow, dtype="fp16"), *rounds(fast))
    content = document(summarise(RunDirectory.open(tmp_path / "run")), Words("en"), ())
    (section,) = [section for section in content.sections if section.title == "FP16 compared with INT8"]
    assert not section.folded
    table = section.blocks[0]
    assert isinstance(table, Table)
    assert [row[:2] for row in table.rows] == [("c1", "2.00×"), ("second", "2.00×")]
    assert table.rows[0][-1] == "0.50×"
    assert "over 3 rounds" in table.caption


def until(relative_width: float, least: int = 2, most: int = 5) -> dict[str, Any]:
    return {"most": most, "least": least, "until": {"metric": "e2e_latency.p50", "relative_width": relative_width}}


def decided(path: Path, scenario: Scenario, latencies_ms: dict[str, list[int]]) -> tuple[dict[str, bool], list[RoundsDecided]]:
    """Whether each later round was begun, and the decisions."""
    run = write_run(path, scenario, *rounds(latencies_ms))
    selection = RUN.selection(scenario, RunLog(run, lambda event: None))
    assert selection
    wanted = {name: selection.wants("int8", name) for name in scenario.deployments}
    return wanted, every(run.events(), RoundsDecided)


def test_rounds_end_when_every_stage_is_narrow(tmp_path: Path) -> None:
    scenario = repeated_scenario(until(0.1))
    wanted, decisions = decided(tmp_path / "run", scenario, {"c1": [100, 101, 100], "second": [100, 130, 115]})
    assert list(wanted.values()) == [True] * 5, "of three rounds that were run, one stage is wide, and the others have not been run"
    assert [(one.round, one.stopped) for one in decisions] == [(2, False), (3, False), (4, False)]
    narrow = {one.stage: one.relative_width is not None and one.relative_width <= 0.1 for one in decisions[1].widths}
    assert narrow == {"c1": True, "second": False}
    wanted, decisions = decided(tmp_path / "narrow", scenario, {"c1": [100, 101, 100], "second": [100, 101, 100]})
    assert list(wanted.values()) == [True, True, True, False, False]
    assert [(one.round, one.stopped) for one in decisions] == [(2, False), (3, True)]


def test_no_decision_is_made_before_the_least_number_of_rounds(tmp_path: Path) -> None:
    scenario = repeated_scenario(until(0.5, least=3))
    wanted, decisions = decided(tmp_path / "run", scenario, {"c1": [100] * 3, "second": [100] * 3})
    assert list(wanted.values()) == [True, True, True, False, False]
    assert [one.round for one in decisions] == [3]


def test_a_bound_that_was_not_reached_is_said(tmp_path: Path) -> None:
    scenario = repeated_scenario(until(0.01, most=3))
    run = write_run(tmp_path / "run", scenario, *rounds({"c1": NOISY, "second": STEADY}))
    selection = RUN.selection(scenario, RunLog(run, lambda event: None))
    assert selection
    selection.finish()
    summary = summarise(RunDirectory.open(run.path))
    (reason,) = [reason for reason in summary.verdict.reasons if reason.code == "rounds_too_wide"]
    assert (reason.deployment, reason.stage, reason.grade) == ("default-int8", "c1", "note")
    assert "was not reached" in str(document(summary, Words("en"), ()))


@pytest.mark.parametrize(("metric", "near"), [("ttft", "ttft.p99"), ("output_tokens_throughput", "output_token_throughput")])
def test_an_unknown_metric_is_an_error_with_the_nearest_names(metric: str, near: str) -> None:
    scenario = repeated_scenario({"most": 5, "until": {"metric": metric, "relative_width": 0.1}})
    with pytest.raises(UserError, match=f"repeats.until.metric: unknown metric {metric}; did you mean .*{near}"):
        RUN.check_scenario(scenario)


def test_the_dry_run_says_how_many_rounds_there_are() -> None:
    assert list(RUN.preview_deployments(repeated_scenario(3))) == ["repeats: 3 rounds, 3 deployments in all, stages in random order"]
    (line,) = RUN.preview_deployments(repeated_scenario(until(0.1)))
    assert line.startswith("repeats: 2 to 5 rounds, until e2e_latency.p50 has an interval of at most 10.0% of its mean")
    assert list(RUN.preview_deployments(repeated_scenario(3).model_copy(update={"repeats": None}))) == []
