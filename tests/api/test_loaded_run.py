from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import trtbench
from tests.recorded_run import RECORDED
from tests.support.runs.repeated_run import repeated_scenario, rounds
from tests.support.runs.written_run import write_run
from trtbench.analysis.stats.percentile import Distribution
from trtbench.rundir.directory import RunDirectory

pytestmark = pytest.mark.whole_run

ROOT = Path(__file__).parents[2]
LATENCIES = ("ttft_ns", "ttft_from_sent_ns", "tpot_ns", "e2e_latency_ns", "e2e_latency_from_sent_ns")
KINDS = ("load", "mixed", "stress", "streaming", "encoder", "bench", "killed", "resumed", "hot-reload")


def load(kind: str) -> trtbench.Run:
    return trtbench.load_run(RECORDED / kind)


def measured(run: trtbench.Run, deployment: str, stage: str) -> pd.DataFrame:
    requests = run.requests
    return requests[(requests.deployment == deployment) & (requests.stage == stage) & ~requests.warmup]


def distribution(values: pd.Series[Any]) -> Distribution:
    return Distribution.of(np.sort(values.dropna().to_numpy(np.float64 if values.name == "tpot_ns" else np.int64)))


@pytest.mark.parametrize("kind", KINDS)
def test_latencies_of_the_table_are_those_of_the_report(kind: str) -> None:
    run = load(kind)
    stages = [(result.name, stage) for result in run.summary.deployments for stage in result.stages]
    assert stages
    for deployment, stage in stages:
        rows = measured(run, deployment, stage.span.name)
        done = rows[rows.outcome == "completed"]
        assert len(rows) == stage.conservation.planned
        assert {name: distribution(done[name]) for name in LATENCIES} == {name: getattr(stage.latency, name) for name in LATENCIES}
        assert distribution(rows[rows.attempts == 1].send_lag_ns) == stage.latency.send_lag_ns


@pytest.mark.parametrize("kind", ("streaming", "bench", "killed"))
def test_gaps_between_responses_are_those_of_the_report(kind: str) -> None:
    run = load(kind)
    for result in run.summary.deployments:
        for stage in result.stages:
            requests = measured(run, result.name, stage.span.name).set_index("index")
            responses = run.responses(result.name, stage.span.name)
            responses = responses[~responses.warmup]
            tokens = responses.groupby("index").tokens.sum()
            assert tokens.to_dict() == requests[requests.responses > 0].output_tokens.to_dict()
            done = responses[responses["index"].isin(requests.index[requests.outcome == "completed"])]
            assert distribution(done.groupby("index").arrived_ns.diff()) == stage.latency.itl_ns


def test_responses_say_how_late_each_was_read() -> None:
    run = load("streaming")
    responses = run.responses()
    assert len(responses) == run.requests.responses.sum()
    assert responses.read_lag_ns.notna().any()
    assert (responses.read_lag_ns.dropna() >= 0).all()


def test_samples_are_those_of_the_run_directory() -> None:
    run = load("precision")
    table = run.samples
    for directory in RunDirectory.open(run.path).deployments():
        samples = directory.samples()
        for name in samples.names():
            for label in samples.labels(name):
                times_ns, values = samples.series(name, label)
                rows = table[(table.deployment == directory.name) & (table["name"] == name) & (table.label == label)]
                assert rows.time_ns.to_list() == times_ns.tolist()
                assert rows.value.to_list() == values.tolist()


def test_tables_are_read_once_and_only_when_asked_for(tmp_path: Path) -> None:
    path = shutil.copytree(RECORDED / "baseline", tmp_path / "run")
    run = trtbench.load_run(str(path))
    shutil.copyfile(RECORDED / "load" / "default-int8" / "requests.parquet", path / "default-int8" / "requests.parquet")
    assert len(run.requests) == len(load("load").requests)
    assert run.requests is run.requests
    assert run.samples is run.samples
    assert run.summary is run.summary
    assert [event.kind for event in run.events] == [event.kind for event in load("baseline").events]


def test_a_run_that_never_came_to_a_deployment_has_the_same_columns(tmp_path: Path) -> None:
    run = load("baseline")
    for name in ("environment.json", "scenario.yaml"):
        shutil.copyfile(run.path / name, tmp_path / name)
    (tmp_path / "events.jsonl").touch()
    empty = trtbench.load_run(tmp_path)
    for table, other in ((empty.requests, run.requests), (empty.samples, run.samples), (empty.responses(), run.responses())):
        assert len(table) == 0
        kinds = [{name: str(kind) for name, kind in one.dtypes.items()} for one in (table, other)]
        assert kinds[0] == kinds[1]


def test_a_request_that_was_never_sent_has_no_instants() -> None:
    requests = load("stress").requests
    never = requests[requests.outcome == "never_sent"]
    assert len(never)
    assert never[["sent_ns", "done_ns", "ttft_ns", "e2e_latency_ns", "send_lag_ns", "tpot_ns", "session"]].isna().all(axis=None)
    assert never.due_ns.notna().all()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"deployment": "fp32"}, "deployment 'fp32': the run has default-fp16, default-int8"),
        ({"stage": "c9"}, "stage 'c9': there is "),
    ],
)
def test_an_unknown_deployment_or_stage_is_named(names: dict[str, str], says: str) -> None:
    with pytest.raises(trtbench.UserError, match=re.escape(says)):
        load("precision").responses(**names)


def test_what_is_not_a_run_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(trtbench.RunDirectoryError, match=r"is not a run directory: it has no environment\.json"):
        trtbench.load_run(tmp_path)


def test_report_writes_what_was_asked_for(tmp_path: Path) -> None:
    path = shutil.copytree(RECORDED / "baseline", tmp_path / "run")
    run = trtbench.load_run(path)
    assert run.report(formats=["json"]) == [path / "summary.json"]
    assert not (path / "report.md").exists()
    language: Any = "fr"
    with pytest.raises(trtbench.UserError, match="language 'fr': give en or zh"):
        run.report(language)
    formats: Any = ["pdf"]
    with pytest.raises(trtbench.UserError, match="formats 'pdf': give md or html or json"):
        run.report(formats=formats)


def test_the_columns_are_those_of_the_documentation() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    run = load("baseline")
    for heading, table in (("run.requests", run.requests), ("run.samples", run.samples), ("run.responses()", run.responses())):
        (section,) = re.findall(rf"^### `{re.escape(heading)}`\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE)
        cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == list(table.columns)


def test_figures_of_rounds_are_paired_by_round_and_estimates_are_their_means(tmp_path: Path) -> None:
    write_run(tmp_path / "run", repeated_scenario(3), *rounds({"c1": [100, 102, 104], "second": [10, 20, 30]}))
    run = trtbench.load_run(tmp_path / "run")
    figures, estimates = run.figures, run.estimates
    latencies = figures[(figures.figure == "e2e_latency.p50") & (figures.stage == "second")]
    assert latencies[["cell", "dtype", "deployment", "round", "value", "unit"]].values.tolist() == [
        ["default", "int8", f"default-r{number}-int8", number, number * 1e7, "ns"] for number in (1, 2, 3)
    ]
    (row,) = estimates[(estimates.figure == "e2e_latency.p50") & (estimates.stage == "second")].itertuples()
    assert (row.rounds, row.mean) == (3, 2e7)
    assert row.half_width == pytest.approx(4.303 * 1e7 / 3**0.5)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert [name for name in {*figures.columns, *estimates.columns} if f"`{name}`" not in page] == []
