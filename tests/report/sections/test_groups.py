from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.summary import Summary, summarise
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.words import Words
from trtbench.report.sections.stage_tables import group_tables
from trtbench.rundir.directory import RunDirectory

pytestmark = pytest.mark.whole_run


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    path: Path = tmp_path_factory.mktemp("mixed") / "run"
    return summarise(RunDirectory.open(write_synthetic_run(path, mixed=True).run.path))


def test_components_and_turns_have_a_table_each(mixed: Summary) -> None:
    tables = [block for block in group_tables(mixed, Words("en")) if isinstance(block, Table)]
    assert [table.caption for table in tables[:2]] == [
        "default-fp16: components of the mixed workload",
        "default-fp16: first and later turns of sessions",
    ]
    assert [row[:4] for row in tables[0].rows[:2]] == [("c1", "chat", "32", "32"), ("c1", "search", "8", "4")]
    assert [row[1] for row in tables[1].rows[:2]] == ["first", "later"]


def test_a_plain_workload_has_neither(summary: Summary) -> None:
    assert group_tables(summary, Words("en")) == []
