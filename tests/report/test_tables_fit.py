"""Every table of a report has a column for each of its figures, of few deployments and of many, of an encoder too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.having import having
from tests.support.runs.cache_run import write_cache_run
from tests.support.runs.encoder_run import write_encoder_run
from trtbench.analysis.summary import Summary, summarise
from trtbench.experiments.precision.comparison import COMPARISONS
from trtbench.report.kit import grouping
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.report.sections.core import core_blocks
from trtbench.report.sections.sections import document
from trtbench.scenario.parts.choices import Language

pytestmark = pytest.mark.whole_run


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Summary]:
    path: Path = tmp_path_factory.mktemp("tables")
    runs = {"encoder": write_encoder_run(path / "encoder", slo=True), "cache": write_cache_run(path / "cache")}
    return {name: summarise(run) for name, run in runs.items()}


def tables(summary: Summary, language: Language) -> Iterator[Table]:
    for section in document(summary, Words(language, summary.scenario.task), ()).sections:
        yield from (block for block in section.blocks if isinstance(block, Table))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("few", [0, 99])
def test_each_figure_has_its_column(
    summary: Summary, summaries: dict[str, Summary], few: int, language: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "FEW", few)
    for name, one in {"generate": summary, **summaries}.items():
        found = list(tables(one, language))
        assert len(found) > 10
        for table in found:
            assert {len(row) for row in table.rows} <= {len(table.header)}, (name, table.caption, table.header)


def test_the_one_table_of_many_encoders_is_named_as_that_of_few(summaries: dict[str, Summary], monkeypatch: pytest.MonkeyPatch) -> None:
    words = Words("en", "embed")
    few = next(block for block in core_blocks(summaries["encoder"], words) if isinstance(block, Table))
    monkeypatch.setattr(grouping, "FEW", 0)
    one = next(block for block in core_blocks(summaries["encoder"], words) if isinstance(block, Table))
    assert (one.header[1:], one.rows[0][1:]) == (few.header, few.rows[0])


def test_engines_without_token_counts_are_compared_in_the_same_columns(summary: Summary) -> None:
    (pair,) = summary.found[COMPARISONS]
    stages = tuple(replace(stage, output_token_throughput=None, request_throughput=1.1) for stage in pair.stages)
    unknown = having(summary, {COMPARISONS: (replace(pair, stages=stages),)})
    assert all({len(row) for row in table.rows} <= {len(table.header)} for table in tables(unknown, "en"))
