from __future__ import annotations

from dataclasses import replace

import pytest

from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.report.sections.core import core_blocks, core_table, load_label


def test_header_of_the_template_in_chinese(summary: Summary) -> None:
    table = next(block for block in core_blocks(summary, Words("zh")) if isinstance(block, Table))
    assert table.header[:5] == ("并发数", "QPS", "P99延迟(ms)", "GPU利用率", "错误率")


def test_failures_as_infinite_latencies_are_a_column_only_where_requests_failed(summary: Summary) -> None:
    first = summary.deployments[0]
    sound, *others = [replace(stage, latency=replace(stage.latency, e2e_with_failures_ns=None)) for stage in first.stages]
    failed = replace(sound, latency=replace(sound.latency, e2e_with_failures_ns=Distribution.of([1_000_000] * 40, 4)))
    none, some = (replace(summary, deployments=(replace(first, stages=(one, *others)),)) for one in (sound, failed))
    header, rows = core_table(some, "en")
    column, beside = header.index("P99, failures as ∞ (ms)"), header.index("P99 latency (ms)")
    assert rows[0][column] == "∞" != rows[0][beside]
    assert rows[1][column] == rows[1][beside] != "-"
    assert "P99, failures as ∞ (ms)" not in core_table(none, "en")[0]


def test_users_and_rates_are_kept_apart(summary: Summary) -> None:
    tables = [block for block in core_blocks(summary, Words("en")) if isinstance(block, Table)]
    assert [table.caption for table in tables] == ["default-fp16", "default-fp16, open loop", "default-int8", "default-int8, open loop"]
    assert [row[0] for row in tables[0].rows] == ["1", "4", "8"]
    assert [row[0] for row in tables[1].rows] == ["2/s (Poisson)"]


@pytest.mark.parametrize(
    ("mode", "asked", "ramp_from", "en", "zh"),
    [
        ("concurrency", 16.0, None, "16", "16"),
        ("concurrency", 1000.0, 10.0, "10 → 1000", "10 → 1000"),
        ("poisson", 20.0, 1.5, "1.5 → 20/s (Poisson)", "1.5 → 20/s（泊松）"),
        ("burst", 2.5, None, "2.5/s (bursts)", "2.5/s（突发）"),
        ("trace", 2.0, None, "trace at 2×", "2 倍速回放"),
    ],
)
def test_what_was_asked_is_said_by_its_mode(summary: Summary, mode: str, asked: float, ramp_from: float | None, en: str, zh: str) -> None:
    stage = summary.deployments[0].stages[0]
    asked_for = replace(stage, ramp_from=ramp_from, level_reached=None, span=replace(stage.span, mode=mode, asked=asked))
    assert [load_label(asked_for, Words(language)) for language in LANGUAGES] == [en, zh]


def test_a_level_that_was_not_reached_is_shown_with_the_one_that_was(summary: Summary) -> None:
    stage = summary.deployments[0].stages[0]
    asked_for = replace(stage, level_reached=24.0, span=replace(stage.span, asked=128.0))
    assert [load_label(asked_for, Words(language)) for language in LANGUAGES] == ["128 (24.0 reached)", "128（实际 24.0）"]
    assert load_label(replace(asked_for, level_reached=120.0), Words("en")) == "128"


def test_figures_of_one_row(summary: Summary) -> None:
    header, rows = core_table(summary, "en")
    row = dict(zip(header, rows[2], strict=True))
    assert (row["Deployment"], row["Load"], row["QPS"], row["Tokens/s"]) == ("default-fp16", "8", "8.85", "142")
    assert (row["Error rate"], row["Batch hit ratio"], row["KV peak"], row["GPU utilization"]) == ("0.4%", "79.4%", "62.5%", "-")
    assert len(rows) == 8 and all(len(row) == len(header) for row in rows)


def test_p99_is_a_lower_bound_except_where_there_are_a_thousand_requests(summary: Summary) -> None:
    header, rows = core_table(summary, "en")
    column = header.index("P99 latency (ms)")
    assert [row[column].startswith("≥ ") for row in rows] == [True, True, False, True] * 2
