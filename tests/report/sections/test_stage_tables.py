from __future__ import annotations

from dataclasses import replace

import pytest

from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.words import Words
from trtbench.report.sections.stage_tables import client_tables
from trtbench.scenario.parts.choices import Language


def table_of(summary: Summary) -> Table:
    first, _ = client_tables(summary, Words("en"))
    assert isinstance(first, Table)
    return first


def test_a_row_a_stage(summary: Summary) -> None:
    table = table_of(summary)
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert list(rows) == ["c1", "c4", "c8", "poisson-2"]
    assert rows["c4"]["Arrivals stamped by"] == "the kernel" and rows["c4"]["Read together"] == "12.5%"
    assert rows["c8"]["Retries"] == "1 (1 completed after a retry)" and rows["c4"]["Retries"] == "0"
    assert (rows["c8"]["Rate kept"], rows["poisson-2"]["Rate kept"]) == ("-", ">99.9%")
    assert table.note.startswith("Transport wire (uvloop); 1 worker(s), 8 connection(s) opened, 0 of them lost.")


@pytest.mark.parametrize(("ratio", "said"), [(None, "-"), (0.0, "user space"), (0.25, "kernel (25%)"), (1.0, "the kernel")])
def test_who_stamped(summary: Summary, ratio: float | None, said: str) -> None:
    result = summary.deployments[0]
    stage = replace(result.stages[0], stamps=replace(result.stages[0].stamps, kernel_ratio=ratio))
    changed = replace(summary, deployments=(replace(result, stages=(stage,)), summary.deployments[1]))
    assert table_of(changed).rows[0][1] == said


def test_a_run_without_client_facts_has_no_note(summary: Summary) -> None:
    silent = replace(summary, deployments=tuple(replace(result, transports=()) for result in summary.deployments))
    assert table_of(silent).note == ""


@pytest.mark.parametrize("language", ["en", "zh"])
def test_pauses_in_reading_are_in_the_note(summary: Summary, language: Language) -> None:
    paced = replace(
        summary.deployments[0].transports[0],
        paced_passes=1_000,
        paced_reads=20_000,
        paced_reads_crowded=4,
        read_pause_longest_ns=4_000_000,
        paced_end_lag_p99_ns=850_000,
    )
    changed = replace(summary, deployments=(replace(summary.deployments[0], transports=(paced, paced)), summary.deployments[1]))
    note = client_tables(changed, Words(language))[0].note  # type: ignore[union-attr]
    for figure in ("4 ms", "40,000", "2,000", "8 ", "0.85 ms"):
        assert figure in note.replace("4.00 ms", "4 ms").replace("0.850 ms", "0.85 ms"), note
