"""From planted counts of each request to the report, and nothing where none were told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.having import having
from tests.support.runs.synthetic_deployment import COUNTS
from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.summary import Summary, summarise
from trtbench.experiments.kv_cache.prefix_reuse import PREFIX_REUSE, prefix_reuse
from trtbench.experiments.kv_cache.pressure import KV_PRESSURES
from trtbench.experiments.kv_cache.report import kv_detail
from trtbench.report.kit.blocks import Paragraph, Table
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.report.sections.sections import document
from trtbench.report.sections.stage_tables import draft_acceptance, reuse_by_request
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import EngineCounts
from trtbench.scenario.parts.choices import Language
from trtbench.scenario.workload.workload import Workload

pytestmark = pytest.mark.whole_run


def planted(stage: str, index: int) -> EngineCounts | None:
    """c1 tells 3 of 4 blocks reused, c4 allocated blocks only and drafts, c8 every second request; poisson-2 tells nothing."""
    if stage == "c1":
        return EngineCounts(3, 1, 1, 1, 0, 0)
    if stage == "c4":
        return EngineCounts(2, None, 2, 6, 8, 2 if index % 2 else 4)
    return EngineCounts(0, 4, 4, 4) if stage == "c8" and index % 2 else None


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    path: Path = tmp_path_factory.mktemp("counts") / "run"
    return summarise(RunDirectory.open(write_synthetic_run(path, counts=planted).run.path))


def test_the_planted_ratios_are_found(telling: Summary) -> None:
    for result in telling.deployments:
        stages = {stage.span.name: stage for stage in result.stages}
        assert stages["c1"].reuse and (stages["c1"].reuse.requests, stages["c1"].reuse.hit_ratio) == (COUNTS["c1"], 0.75)
        assert stages["c4"].reuse and (stages["c4"].reuse.basis, stages["c4"].reuse.hit_ratio) == ("allocated", 0.25)
        assert stages["c8"].reuse and (stages["c8"].reuse.requests, stages["c8"].reuse.hit_ratio) == (COUNTS["c8"] // 2, 0)
        assert stages["poisson-2"].reuse is None
        assert stages["c4"].drafts and stages["c4"].drafts.acceptance_ratio == 3 / 8
        assert [name for name, stage in stages.items() if stage.drafts] == ["c4"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_rows(telling: Summary, language: Language) -> None:
    words = Words(language)
    reuse, *_, note = reuse_by_request(telling, words)
    assert isinstance(reuse, Table) and isinstance(note, Paragraph)
    missed, allocated = words("reuse.basis_missed"), words("reuse.basis_allocated")
    assert reuse.rows == (
        ("c1", "40", "120", "40", missed, "75%"),
        ("c4", "200", "400", "1,200", allocated, "25%"),
        ("c8", "505", "0", "2,020", missed, "0%"),
    )
    drafts, *_ = draft_acceptance(telling, words)
    assert isinstance(drafts, Table) and drafts.rows == (("c4", "200", "1,600", "600", "37.5%"),)
    assert all(len(row) == len(table.header) for table in (reuse, drafts) for row in table.rows)
    blocks = [block for section in document(telling, words, ()).sections for block in section.blocks]
    assert reuse in blocks and drafts in blocks


def test_summary_json_has_them(telling: Summary) -> None:
    stages = telling.to_json()["deployments"][0]["stages"]
    assert [stage["reuse"] and stage["reuse"]["hit_ratio"] for stage in stages] == [0.75, 0.25, 0, None]
    assert stages[1]["drafts"] == {"requests": 200, "draft_tokens": 1600, "accepted_tokens": 600, "acceptance_ratio": 0.375}


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_engine_counts_the_report_has_no_text_of_them(summary: Summary, language: Language) -> None:
    words = Words(language)
    assert reuse_by_request(summary, words) == draft_acceptance(summary, words) == []
    texts = [getattr(block, "text", "") for section in document(summary, words, ()).sections for block in section.blocks]
    assert words("reuse.by_request_note") not in texts and words("drafts.note") not in texts


def test_the_hit_ratio_of_prefix_reuse_is_by_request_where_gauges_have_none(telling: Summary) -> None:
    off, on = telling.deployments
    on = replace(on, name="on", facts=replace(off.facts, prefix_caching=True))
    workload = telling.scenario.workload.model_copy(update={"prefix": Workload.model_validate({"prefix": {"tokens": 128}}).prefix})
    scenario = telling.scenario.model_copy(update={"workload": workload})
    (pair,) = prefix_reuse([off, on], scenario)
    assert [(stage.hit_ratio, stage.by_request) for stage in pair.stages] == [(0.75, True), (0.25, True), (0, True), (None, False)]
    for language, said in (("en", "75% (by request)"), ("zh", "75%（按请求）")):
        table = kv_detail(having(telling, {PREFIX_REUSE: (pair,)}), Words(language))[-2]  # type: ignore[arg-type]
        assert isinstance(table, Table) and table.rows[0][4] == said and table.rows[-1][4] == "-"
    gauged = tuple(replace(pressure, hit_ratio=0.5) for pressure in on.found[KV_PRESSURES])
    (pair,) = prefix_reuse([off, having(on, {KV_PRESSURES: gauged})], scenario)
    assert {(stage.hit_ratio, stage.by_request) for stage in pair.stages} == {(0.5, False)}, "the engine's own gauges come first"
