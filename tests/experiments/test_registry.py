"""An experiment is its folder and one line of the registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fakes.fake_experiment.analysis import COUNTED, TOTAL
from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.experiment_analysis import ExperimentAnalysis
from trtbench.analysis.summary import summarise
from trtbench.experiments.registry import EXPERIMENTS, Experiment
from trtbench.report.document import write_reports
from trtbench.report.kit.canvas import ExperimentFigure
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.rundir.directory import RunDirectory


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_experiment_has_the_roles_that_every_run_needs(name: str) -> None:
    assert EXPERIMENTS[name].role(ExperimentAnalysis) and EXPERIMENTS[name].role(ExperimentReport)


def test_an_experiment_without_a_file_of_a_role_has_no_such_role() -> None:
    assert EXPERIMENTS["kv_cache"].role(ExperimentFigure) is None


def test_an_object_of_another_type_is_no_role() -> None:
    class Other(ExperimentAnalysis):
        pass

    with pytest.raises(TypeError, match=r"hot_reload\.analysis\.ANALYSIS is a ExperimentAnalysis; it has to be a Other"):
        EXPERIMENTS["hot_reload"].role(Other)


@pytest.mark.whole_run
def test_a_further_experiment_is_analysed_and_reported_by_a_core_that_does_not_know_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_synthetic_run(tmp_path / "run")
    before = summarise(RunDirectory.open(tmp_path / "run"))
    monkeypatch.setitem(EXPERIMENTS, "counting", Experiment("tests.support.fakes.fake_experiment"))
    summary = summarise(RunDirectory.open(tmp_path / "run"))
    counts = [result.found[COUNTED] for result in summary.deployments]
    plain = summary.to_json()
    assert [one["counted_requests"] for one in plain["deployments"]] == counts and min(counts) > 0
    assert plain["counted_requests_total"] == summary.found[TOTAL] == sum(counts)
    names = [result.name for result in summary.deployments]
    assert [reason.deployment for reason in summary.verdict.reasons if reason.code == "reloads_once"] == names
    assert [one.deployment for one in summary.findings if one.code == "server_fault"] == names
    assert {one.code for one in summary.findings} == {one.code for one in before.findings} - {"knee"} | {"server_fault"}
    write_reports(RunDirectory.open(tmp_path / "run"), summary, formats=["md"])
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    order = [report.index(text) for text in ("Counting", "It counts.", "## Key metrics", f"{sum(counts)} requests, drawn", "## Throughput")]
    assert order == sorted(order)
    assert (tmp_path / "run" / "plots" / "counted.png").exists()
