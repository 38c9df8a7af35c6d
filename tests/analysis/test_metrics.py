"""The declared metrics: their texts exist, their columns are unambiguous, and one more entry in the list is a column of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.metric import Metric
from trtbench.analysis.metrics import GPU_METRICS, GROUP_METRICS, KEY_FIGURES, METRICS
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.summary import summarise
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.columns import FORMATS, chosen, columns_of
from trtbench.report.kit.words import LANGUAGES, Words, texts_of
from trtbench.report.sections import stage_tables
from trtbench.report.sections.appendix import formulas
from trtbench.rundir.directory import RunDirectory
from trtbench.tasks.generate import GENERATE

LISTS: tuple[tuple[Metric[Any], ...], ...] = (METRICS, GROUP_METRICS, GPU_METRICS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_metric_has_its_texts(language: str) -> None:
    texts = texts_of(language)  # type: ignore[arg-type]
    for metric in (one for metrics in LISTS for one in metrics):
        assert not metric.formula or f"formula.{metric.formula}" in texts
        assert [column.name for column in metric.columns if f"col.{column.name}" not in texts] == []


def test_every_formula_is_that_of_a_metric() -> None:
    assert set(Words("en").keys("formula")) == {metric.formula for metric in METRICS} - {""}


@pytest.mark.parametrize("metrics", LISTS)
def test_names_and_columns_are_unique(metrics: tuple[Metric[Any], ...]) -> None:
    columns = [column.name for metric in metrics for column in metric.columns]
    names = [metric.name for metric in metrics]
    assert len(set(columns)) == len(columns)
    assert len(set(names)) == len(names)
    assert set(KEY_FIGURES) <= {column.name for metric in METRICS for column in metric.columns}


def test_a_column_prints_each_part_in_its_unit_and_an_estimate_as_one() -> None:
    pair: Metric[tuple[float, float] | None] = Metric("pair", "bytes", lambda value: value).column("pair", "t")
    assert columns_of("t", [pair], GENERATE)["pair"]((1024, 2048)) == "1.00 KiB / 2.00 KiB"
    assert columns_of("t", [pair], GENERATE)["pair"](None) == "-"
    of_parts: Metric[complex] = (
        Metric("c", "count", lambda value: value).column("c", of=("real", "imag")).column("r", of="real", unit="ratio")
    )
    assert [cell(0.5 + 2j) for cell in chosen("t", ("c", "r"), [of_parts], GENERATE).values()] == ["0 / 2", "50%"]
    guess: Metric[float] = Metric("guess", "tokens/s", lambda value: value, is_estimate=lambda value: value > 1).column("guess", "t")
    assert [columns_of("t", [guess], GENERATE)["guess"](value) for value in (0.5, 2.0)] == ["0.500", "≈ 2.00"]
    assert "tokens/s" not in FORMATS


@pytest.mark.whole_run
def test_one_more_metric_is_a_column_and_a_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_synthetic_run(tmp_path / "run")
    summary = summarise(RunDirectory.open(tmp_path / "run"))
    more: Metric[StageResult] = Metric("failed", "count", lambda stage: stage.conservation.failed, "error_ratio").column(
        "failed", "throughput"
    )
    monkeypatch.setattr(stage_tables, "METRICS", (*METRICS, more))
    monkeypatch.setattr("trtbench.report.sections.appendix.METRICS", (*METRICS, more))
    table = stage_tables.throughput_tables(summary, Words("en"))[0]
    (appendix,) = formulas(Words("zh"))
    assert isinstance(table, Table) and isinstance(appendix, Table)
    assert table.header[-1] == "Failed" and {row[-1] for row in table.rows} == {"0", "3"}
    assert "error_ratio, failed" in [name for name, _ in appendix.rows]
