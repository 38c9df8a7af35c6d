from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.summary import Summary, summarise
from trtbench.analysis.verdict.finding import Finding, with_doubts
from trtbench.analysis.verdict.verdict import Doubt, Doubts, Grade, Reason, verdict
from trtbench.report.kit.words import Words
from trtbench.report.sections.sections import document
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import StageFinished
from trtbench.rundir.events import every
from trtbench.scenario.parts.choices import Language


@pytest.mark.parametrize(
    ("grades", "status"),
    [([], "VALID"), (["note"], "VALID"), (["note", "suspect"], "SUSPECT"), (["suspect", "invalid", "note"], "INVALID")],
)
def test_the_worst_reason_decides_and_is_first(grades: list[Grade], status: str) -> None:
    found = verdict([Reason("x", grade) for grade in grades])
    assert found.status == status
    order = ["invalid", "suspect", "note"]
    assert [order.index(reason.grade) for reason in found.reasons] == sorted(order.index(grade) for grade in grades)


DISTURBED = Doubt("default-fp16", "c8", "foreign_load")


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """The synthetic run, with other programs on the machine's CPU while FP16 served 8 users."""
    written = write_synthetic_run(Path(tmp_path_factory.mktemp("doubts")) / "run")
    window = next(one for one in every(written.run.events(), StageFinished) if one.name == "c8")  # FP16 is served first
    path = written.run.path / "default-fp16" / "samples.parquet"
    rows = pq.read_table(path)
    changed = [
        row | {"value": 1.0} if row["name"] == "machine_cpu_ratio" and window.start_ns <= row["time_ns"] <= window.end_ns else row
        for row in rows.to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(changed, schema=rows.schema), path)
    return summarise(RunDirectory.open(written.run.path))


def of(summary: Summary, code: str) -> Finding:
    return next(finding for finding in summary.findings if finding.code == code and finding.deployment.endswith("fp16"))


def test_the_knee_of_a_disturbed_run_is_no_more_than_possible(disturbed: Summary, summary: Summary) -> None:
    assert disturbed.verdict.status == "SUSPECT"
    assert of(disturbed, "knee").doubts == (DISTURBED,)
    assert of(summary, "knee").doubts == ()
    assert {finding.code for finding in disturbed.findings if DISTURBED in finding.doubts} >= {"knee", "slo_missed"}
    assert all(DISTURBED not in finding.doubts for finding in disturbed.findings if finding.deployment == "default-int8" and finding.stage)


@pytest.mark.parametrize(("language", "says"), [("en", "Possible: "), ("zh", "可能：")])
def test_the_first_line_says_so_in_the_conclusion_and_on_the_card(
    disturbed: Summary, summary: Summary, language: Language, says: str
) -> None:
    doubted, sound = (document(one, Words(language), ()) for one in (disturbed, summary))
    knee = Words(language).finding("knee", "title", of(disturbed, "knee").figures)
    for content, expected in ((doubted, 2), (sound, 0)):
        text = str(content)
        assert text.count(knee) == 2
        parts = text.split(knee)
        assert sum(left.endswith(says) and "default-fp16 c8" in right[:200] for left, right in pairwise(parts)) == expected


def test_which_reasons_doubt_which_stages() -> None:
    doubts = Doubts(
        [
            Reason("send_lag", "suspect", "d", "c1"),
            Reason("rate_off", "note", "d", "c2"),
            Reason("clock_step", "suspect", "d"),
            Reason("not_run", "suspect", "d"),
            Reason("few_samples", "suspect", "e", stages=("c1", "c2")),
        ]
    )
    assert doubts.about([("d", "c1")]) == (Doubt("d", "c1", "send_lag"), Doubt("d", "c1", "clock_step"))
    assert doubts.about([("d", "c2")]) == (Doubt("d", "c2", "clock_step"),)
    assert doubts.about([("e", "c2"), ("e", "c2")]) == (Doubt("e", "c2", "few_samples"),)
    assert doubts.about([("f", "c1")]) == ()


def test_a_finding_rests_on_its_own_stage_or_on_those_it_names() -> None:
    doubts = Doubts([Reason("send_lag", "invalid", "d", "c1")])
    findings = [
        Finding("a", "info", "d", "c1"),
        Finding("b", "info", rests_on=(("d", "c1"),)),
        Finding("server_lost", "critical", "d"),
    ]
    own, named, of_the_server = with_doubts(findings, doubts)
    assert own.doubts == named.doubts == (Doubt("d", "c1", "send_lag"),)
    assert of_the_server.doubts == ()
