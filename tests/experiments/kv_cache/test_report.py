from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.having import having
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.summary import Summary
from trtbench.experiments.kv_cache.cancel_control import CANCEL_CONTROLS, CancelControl, Survivors
from trtbench.experiments.kv_cache.cancellation import CANCELLATIONS, Cancellation
from trtbench.experiments.kv_cache.prefix_reuse import PREFIX_REUSE, PrefixReuse, StageReuse
from trtbench.experiments.kv_cache.pressure import KV_CAPACITY, KV_PRESSURES, Held, KvCapacity, KvPressure
from trtbench.experiments.kv_cache.report import kv_detail
from trtbench.report.kit.blocks import Paragraph, Table
from trtbench.report.kit.format import number
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.scenario.parts.choices import Language

MS = 1_000_000


def detailed(summary: Summary) -> Summary:
    pressures = (
        KvPressure("c8", 8, 60, 180.5, 192, 10, 9, Held(3, 0.5), Held(0, 0.0), 0.0, None, None),
        KvPressure("c12", 12, 60, 180.5, 192, 10, 9, None, None, 0.25, 7, 0.5),
    )
    audits = (
        Cancellation("c8", 4, 28, 31.5, 32, 4, 150 * MS, 0, 120.0 * MS, 4, 130.0 * MS, 160 * MS),
        Cancellation("c12", 2, 30, None, 17, 1, None, None),
    )
    first = having(summary.deployments[0], {KV_PRESSURES: pressures, KV_CAPACITY: KvCapacity(8, 12, 9, 10), CANCELLATIONS: audits})
    rest = having(summary.deployments[1], {KV_PRESSURES: (), KV_CAPACITY: None, CANCELLATIONS: ()})
    reuse = PrefixReuse("off", "on", (StageReuse("c8", 400.0 * MS, 100.0 * MS, 0.25, None, 0.75),))
    return replace(having(summary, {PREFIX_REUSE: (reuse,)}), deployments=(first, rest))


def test_rows(summary: Summary) -> None:
    pressure, found, _, audit, _, no_control, reuse, _ = kv_detail(detailed(summary), Words("en"))
    assert isinstance(pressure, Table) and isinstance(audit, Table) and isinstance(reuse, Table) and isinstance(found, Paragraph)
    assert isinstance(no_control, Paragraph) and no_control.text.startswith("There is no stage without cancellations")
    assert pressure.rows == (
        ("c8", "10", "9", "0%", "3", "50%", "0", "0%", "-"),
        ("c12", "10", "9", "25%", "-", "-", "-", "-", "7"),
    )
    assert found.text.endswith(
        "held no request back: 8. First stage in which it did: 12. Predicted, for longest and mean requests: 9 - 10; "
        "the prediction is correct: yes."
    )
    assert [row[:4] + row[5:] for row in audit.rows] == [
        ("c8", "4", "28", "31.5", "32", "4", "120", "150", "4", "130", "160", "0"),
        ("c12", "2", "30", "-", "17", "1", "-", "-", "-", "-", "-", "-"),
    ]
    c8 = summary.deployments[0].stage("c8")
    assert c8 and c8.throughput.goodput
    assert [row[4] for row in audit.rows] == [number(c8.throughput.goodput), "-"]
    assert reuse.rows == (("c8", "400", "100", "0.25×", "-", "75%"),)


@pytest.mark.parametrize("language", LANGUAGES)
def test_of_an_encoder_only_its_survivors_are_reported(summary: Summary, language: Language) -> None:
    words, whole = Words(language, "embed"), detailed(summary)
    none = Distribution(0)
    one, other = (Survivors(None, good, none, none, Distribution(30, p50=ms * MS)) for good, ms in ((9.0, 50), (6.0, 100)))
    control = CancelControl("c8", "c8-cancel0", 0.1, 30, False, one, other)
    first = having(whole.deployments[0], {CANCEL_CONTROLS: (control,)})
    table, note = kv_detail(replace(whole, deployments=(first, whole.deployments[1])), words)
    assert isinstance(table, Table) and isinstance(note, Paragraph)
    assert table.rows == (
        (words("col.goodput"), "9.00", "6.00", "1.50×"),
        (words("col.p50"), "50.0", "100", "0.50×"),
        (words("col.p99"), "-", "-", "-"),
    )
    assert "KV" not in words("section.kv")


@pytest.mark.parametrize("language", LANGUAGES)
def test_header_and_rows_are_of_one_width(summary: Summary, language: Language) -> None:
    tables = [block for block in kv_detail(detailed(summary), Words(language)) if isinstance(block, Table)]
    assert len(tables) == 3
    assert all(len(row) == len(table.header) for table in tables for row in table.rows)


def test_nothing_of_what_is_not_there(summary: Summary) -> None:
    bare = tuple(having(result, {KV_PRESSURES: (), KV_CAPACITY: None, CANCELLATIONS: ()}) for result in summary.deployments)
    assert kv_detail(replace(having(summary, {PREFIX_REUSE: ()}), deployments=bare), Words("en")) == []


def survivors(tokens_per_s: float, p50_ms: float) -> Survivors:
    return Survivors(tokens_per_s, None, Distribution(30, p50=p50_ms * MS), Distribution(30, p50=50.0 * MS), Distribution(30, p50=9e9))


def test_survivors_beside_their_control(summary: Summary) -> None:
    detail = detailed(summary)
    control = CancelControl("c8", "c8-cancel0", 0.125, 28, False, survivors(30, 200), survivors(20, 400))
    first = having(detail.deployments[0], {CANCEL_CONTROLS: (control,)})
    *_, table, note, _, _ = kv_detail(replace(detail, deployments=(first, *detail.deployments[1:])), Words("en"))
    assert isinstance(table, Table) and isinstance(note, Paragraph)
    assert "c8, 12.5% cancelled, compared with c8-cancel0, none cancelled; the 28 requests" in table.caption
    assert [row[1:] for row in table.rows] == [
        ("30.0", "20.0", "1.50×"),
        ("-", "-", "-"),
        ("200", "400", "0.50×"),
        ("-", "-", "-"),
        ("50.0", "50.0", "1.00×"),
        ("-", "-", "-"),
    ]
