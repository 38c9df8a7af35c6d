"""The page of a comparison: what speaks against it, the gates, the differences and what else differs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from trtbench import __version__
from trtbench.analysis.summary import Summary
from trtbench.compare.compared_runs import Comparison
from trtbench.compare.decision import Decision, outcome_of
from trtbench.report.comparison.comparison_rows import GATE_HEADER, HEADER, difference_rows, family_of, gate_rows
from trtbench.report.kit.blocks import Block, Document, Figure, Paragraph, Section, Table
from trtbench.report.kit.format import percent, utc
from trtbench.report.kit.words import Words

_MOST_REASONS = 3
_STATUS = {"passed": "valid", "undecided": "suspect", "failed": "invalid", "none": "valid"}
"""The style of the box at the top, by outcome."""


def comparison_document(
    compared: Sequence[Comparison], decisions: Sequence[Decision], threshold_ratio: float, words: Words, figures: Collection[str]
) -> Document:
    """The page of all candidates. `figures`: names of the drawings that there are, one for each candidate by its number."""
    base, candidates = compared[0].base, [one.candidate for one in compared]
    outcome = outcome_of(decisions) if decisions else "none"
    sections = [Section(words("compare.gates"), (_gates(decisions, words),))] if decisions else []
    for number, one in enumerate(compared):
        name = f": {one.candidate.run}" if len(compared) > 1 else ""
        sections += _sections(one, threshold_ratio, words, name, f"curves-{number}" if f"curves-{number}" in figures else "")
    started = {"base_started": utc(base.started_utc), "candidate_started": words.listed([utc(one.started_utc) for one in candidates])}
    return Document(
        language=words.language,
        title=words("compare.title", base=base.run, candidate=words.listed([one.run for one in candidates])),
        subtitle=words("compare.subtitle", model=base.scenario.model, **started),
        status=_STATUS[outcome],
        verdict=words(f"compare.outcome.{outcome}"),
        reasons=tuple(dict.fromkeys(sentence for one in compared for sentence in warnings_of(one, words))),
        sections=tuple(sections),
        foot=words("compare.foot", version=__version__),
    )


def _gates(decisions: Sequence[Decision], words: Words) -> Table:
    return Table(words.header(*GATE_HEADER), tuple(gate_rows(decisions, words)), labels=3)


def _sections(one: Comparison, threshold_ratio: float, words: Words, name: str, figure: str) -> Iterator[Section]:
    rows = tuple(difference_rows(one, threshold_ratio, words))
    blocks: list[Block] = [Table((*words.header(*HEADER), words("col.compared_call")), rows, labels=3)]
    blocks += [Paragraph(scope_note(one, threshold_ratio, words))]
    blocks += [Figure(figure, words("compare.curve"))] if figure else []
    yield Section(f"{words('compare.stages')}{name}", tuple(blocks))
    facts = tuple((fact.fact, fact.base, fact.candidate) for fact in one.of_runs)
    header = words.header("compared_fact", "compared_base", "compared_candidate")
    block = Table(header, facts, numeric=False) if facts else Paragraph(words("compare.same_environment"))
    yield Section(f"{words('compare.environment')}{name}", (block,), folded=len(facts) > 12)


def warnings_of(comparison: Comparison, words: Words) -> Iterator[str]:
    """Sentences that belong above everything else: why the runs are not comparable, doubtful runs, what has no counterpart."""
    if facts := [words("compare.fact", fact=one.fact, base=one.base, candidate=one.candidate) for one in comparison.refusals]:
        yield words("compare.forced", facts="; ".join(facts))
    for summary in (comparison.base, comparison.candidate):
        yield from _doubts(summary, words)
    if comparison.unpaired:
        yield words("compare.unpaired", names=words.listed(comparison.unpaired))
    if comparison.has_points_only:
        yield words("compare.points_only", names=words.listed([comparison.base.run, comparison.candidate.run]))


def refused(comparison: Comparison, words: Words) -> str:
    """Why the runs are not comparable, and the remedy."""
    facts = [words("compare.fact", fact=one.fact, base=one.base, candidate=one.candidate) for one in comparison.refusals]
    return words("compare.refused", facts="; ".join(facts)) if facts else words("compare.no_stages")


def scope_note(comparison: Comparison, threshold_ratio: float, words: Words) -> str:
    """What the calls and the intervals hold for."""
    rounds = max((one.rounds for one in comparison.differences), default=0)
    scope = words("compare.scope_rounds", rounds=rounds) if rounds else words("compare.scope")
    return words("compare.note", count=family_of(comparison), threshold=percent(threshold_ratio), scope=scope)


def _doubts(summary: Summary, words: Words) -> Iterator[str]:
    if summary.verdict.status == "VALID":
        return
    reasons = [words(f"reason.{one.code}", **one.figures) for one in summary.verdict.reasons if one.grade != "note"]
    shown = list(dict.fromkeys(reasons))[:_MOST_REASONS]
    yield words("compare.doubted", run=summary.run, status=words(f"verdict.{summary.verdict.status}"), reasons=" ".join(shown))
