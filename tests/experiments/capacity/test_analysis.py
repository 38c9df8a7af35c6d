"""What a search that is on record says: its result, its finding, its doubts, its section and its figure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from matplotlib.figure import Figure

from tests.support.having import having
from trtbench.analysis.summary import Summary
from trtbench.experiments.capacity.analysis import capacity_findings, capacity_reasons
from trtbench.experiments.capacity.capacity_found import CAPACITY, CapacityFound, capacity_found
from trtbench.experiments.capacity.figure import paint_capacity
from trtbench.experiments.capacity.report import capacity_blocks, capacity_sentences
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.canvas import COLOURS, INK
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.rundir.events import event_of
from trtbench.rundir.experiment_events import CapacityProbe, CapacitySearchFinished, CapacitySearchStarted, ProbedClause
from trtbench.rundir.records import Event
from trtbench.scenario.parts.choices import Language

SLO = ("ttft:500,p99", "tpot:50,p99")


def probe(level: float, verdict: str, phase: str = "bracket", **fields: Any) -> CapacityProbe:
    broken = {"holds": 1, "breaks": 60}.get(verdict, 4)
    clauses = [
        ProbedClause(clause=clause, requests=200, broken=count, dispersion=1.5) for clause, count in zip(SLO, (broken, 1), strict=True)
    ]
    broke = {"broken_by": SLO[:1]} if verdict == "breaks" else {"doubts": ["client_cpu"]} if verdict == "unusable" else {}
    return CapacityProbe(
        stage=f"probe-c{level:g}", level=level, phase=phase, verdict=verdict, clauses=clauses, jointly_broken=broken, **broke | fields
    )


def searched(*probes: CapacityProbe, ended: str | None = "done") -> CapacityFound:
    """The result of a search of 1 to 16 users with these probes."""
    started = CapacitySearchStarted(by="concurrency", slo=SLO, start=1, least=1, most=16, resolution=0.05, probes=12)
    data = [started, *probes, *([CapacitySearchFinished(ended=ended)] if ended else [])]
    events: list[Event] = [event_of(i, one, "d") for i, one in enumerate(data)]
    found = capacity_found(events, ())
    assert found
    return found


FOUND = searched(probe(4, "holds"), probe(8, "breaks"), probe(5, "holds"), probe(6, "breaks"), probe(5, "holds", "confirm"))
EVERY = (
    FOUND,
    searched(probe(1, "breaks")),
    searched(probe(16, "holds"), probe(16, "holds", "confirm")),
    searched(probe(4, "holds"), probe(8, "unusable"), probe(4, "holds", "confirm")),
    searched(probe(16, "undecided")),
    searched(probe(4, "holds"), probe(8, "breaks"), ended="interrupted"),
    searched(probe(4, "holds"), probe(8, "breaks"), probe(6, "undecided"), probe(5, "holds"), probe(5, "breaks", "confirm")),
    searched(probe(4, "holds"), probe(8, "breaks", broken_by=("backlog",)), ended=None),
)
"""A search of each answer, and searches that were cut short or refuted."""


def test_the_capacity_is_between_the_two_loads() -> None:
    assert (FOUND.outcome.answer, FOUND.outcome.bracket.holds, FOUND.outcome.bracket.breaks) == ("between", 5, 6)
    assert FOUND.outcome.resolved and FOUND.outcome.bracket.confirmed and FOUND.ended == "done"
    assert FOUND.holding and FOUND.holding.phase == "confirm"
    assert FOUND.breaking and FOUND.breaking.broken_by == ("ttft:500,p99",)
    ttft, tpot = FOUND.breaking.clauses
    assert ttft.kept_ratio == pytest.approx(0.7) and ttft.kept_low_ratio < 0.7 < ttft.kept_high_ratio
    assert tpot.kept_ratio == pytest.approx(0.995)
    assert FOUND.breaking.jointly_kept_ratio == pytest.approx(0.7)


def test_without_a_search_there_is_none() -> None:
    assert capacity_found([Event(0, "stage_started", "d", {})], ()) is None


@pytest.mark.parametrize(
    ("found", "codes"),
    [
        (EVERY[0], []),
        (EVERY[3], ["capacity_unresolved"]),
        (EVERY[5], ["capacity_cut_short"]),
        (EVERY[6], ["capacity_unconfirmed", "capacity_refuted"]),
        (EVERY[7], ["capacity_cut_short"]),
    ],
)
def test_doubts(found: CapacityFound, codes: list[str]) -> None:
    assert [reason.code for reason in capacity_reasons("d", found)] == codes


def test_the_finding_rests_on_the_probes_that_show_it(summary: Summary) -> None:
    (finding,) = capacity_findings(having(summary.deployments[0], {CAPACITY: FOUND}), summary.scenario)
    assert finding.code == "capacity_between" and finding.limits
    assert [stage for _, stage in finding.rests_on] == ["probe-c5", "probe-c6"]
    assert not list(capacity_findings(summary.deployments[0], summary.scenario))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_section_has_a_sentence_and_a_row_for_each_clause(summary: Summary, language: Language) -> None:
    words = Words(language)
    assert not capacity_blocks(summary, words, ())
    for found in EVERY:
        run = replace(summary, deployments=(having(summary.deployments[0], {CAPACITY: found}),))
        (sentence,) = capacity_sentences(run, words)
        assert "{" not in sentence
        (table,) = (block for block in capacity_blocks(run, words, ()) if isinstance(block, Table))
        assert len(table.rows) == len(SLO) * len(found.probes)
        assert all(len(row) == len(table.header) for row in table.rows)
        if language == "en" and found is FOUND:
            assert "the capacity is 5 users" in sentence and "breaks at 6" in sentence and "confirmed" in sentence


def test_the_figure_has_a_mark_for_each_probe_and_clause() -> None:
    for found in EVERY:
        axes = Figure().subplots()
        paint_capacity(axes, found, Words("en"), COLOURS, INK)
        assert len(axes.containers) == len(SLO) * len(found.probes)
