"""The report of a Summary, section by section: what was tested, conclusions, the answer to the scenario's question, details."""

from __future__ import annotations

from collections.abc import Sequence

from trtbench.analysis.summary import Summary
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.verdict import Reason
from trtbench.experiments.registry import roles
from trtbench.report.kit.blocks import Block, Bullets, Card, Document, Figure, Paragraph, Section
from trtbench.report.kit.experiment_report import ExperimentReport, answers
from trtbench.report.kit.format import seconds, utc
from trtbench.report.kit.grouping import alike, groups_of, in_rounds, is_many, shown
from trtbench.report.kit.words import Words
from trtbench.report.sections.appendix import environment, formulas, settings
from trtbench.report.sections.batching_tables import batching_tables, class_tables
from trtbench.report.sections.core import core_blocks
from trtbench.report.sections.deployment_tables import all_deployments, target
from trtbench.report.sections.law_tables import littles_law_table, user_law_table
from trtbench.report.sections.long_run_tables import long_run_tables
from trtbench.report.sections.parameters import parameters, request_data_tables
from trtbench.report.sections.resource_tables import cost_tables, gpu_blocks, resource_tables
from trtbench.report.sections.round_tables import core_of_rounds, tables_over_rounds
from trtbench.report.sections.stage_tables import (
    client_tables,
    draft_acceptance,
    engine_time_tables,
    group_tables,
    kv_tables,
    latency_tables,
    outcome_tables,
    reuse_by_request,
    throughput_tables,
    waterfall_table,
)

_PARTS = ("seen", "cause", "remedy", "prove")
_PLACES = 5  # named of those that one sentence is about


def document(summary: Summary, words: Words, drawings: tuple[str, ...]) -> Document:
    """The whole report. `drawings` names the available figures; a figure without data is left out."""
    verdict = summary.verdict
    return Document(
        language="zh-CN" if words.language == "zh" else "en",
        title=words("document.title", name=summary.scenario.name),
        subtitle=words(
            "document.subtitle", model=summary.scenario.model, started=utc(summary.started_utc), duration=seconds(summary.wall_s)
        ),
        status=verdict.status,
        verdict=words(f"verdict.{verdict.status}"),
        reasons=tuple(_reasons(group, words) for group in alike(verdict.reasons, is_many(summary))) or (words("verdict.no_reasons"),),
        sections=tuple(section for section in _sections(summary, words, drawings) if section.blocks),
        foot=words("document.foot", version=summary.environment.trtbench_version, run=summary.run),
        incomplete="" if summary.complete else words("document.incomplete"),
    )


def _sections(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Section]:
    return [*_answers(summary, words, drawings), *_details(summary, words, drawings), *_appendix(summary, words, drawings)]


def _answers(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Section]:
    """What was tested, what follows from it, and the figures that most readers look for."""

    def of_experiments(after: str) -> list[Section]:
        return [section for role in roles(ExperimentReport) if role.after == after for section in role.sections(summary, words, drawings)]

    return [
        _section(words, "target", *target(summary, words)),
        _section(words, "parameters", *parameters(summary, words), *request_data_tables(summary, words)),
        _section(words, "conclusion", *_conclusion(summary, words)),
        _section(words, "findings", *_cards(summary, words)),
        *of_experiments("findings"),
        _section(words, "metrics", *_key_figures(summary, words, drawings)),
        *of_experiments("metrics"),
    ]


def _key_figures(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Block]:
    """The core table with its curves."""
    curves = [name for name in ("throughput", "latency", "latency_rate") if name in drawings]
    if in_rounds(summary):
        return [*core_of_rounds(summary, words), *(Figure(name, words(f"figure.{name}_of_rounds")) for name in curves)]
    return [*core_blocks(summary, words), *_drawn_of(summary, words), *_drawn(drawings, words, *curves)]


def _details(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Section]:
    """A section of each subject, folded where there are many deployments. Those of a repeated load are over its rounds."""
    if in_rounds(summary):
        return [_section(words, name, *found) for name, found in tables_over_rounds(summary, words).items()]
    return [_section(words, name, *found, folded=is_many(summary)) for name, found in _subjects(summary, words, drawings).items()]


def _rounds(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Block]:
    """Every table of every round of a repeated load."""
    if not in_rounds(summary):
        return []
    blocks = [*core_blocks(summary, words), *_drawn_of(summary, words)]
    for name, found in _subjects(summary, words, drawings).items():
        blocks += [Paragraph(words(f"section.{name}"), strong=True), *found] if found else []
    return blocks


def _subjects(summary: Summary, words: Words, drawings: tuple[str, ...]) -> dict[str, list[Block]]:
    """The tables and figures of each subject, of every deployment."""
    server_times = [*waterfall_table(summary, words), *engine_time_tables(summary, words)]
    latency = [*latency_tables(summary, words), *server_times, *group_tables(summary, words)]
    kv_blocks = [block for role in roles(ExperimentReport) for block in role.kv_blocks(summary, words)]
    timelines: list[Block] = [
        Figure(name, words("figure.timeline", deployment=result.name))
        for result in shown(summary)
        if (name := f"timeline-{result.name}") in drawings
    ]
    laws = [*littles_law_table(summary, words), *user_law_table(summary, words)]
    costs = [*cost_tables(summary, words), *long_run_tables(summary, words)]
    return {
        "latency": [*_drawn(drawings, words, "distributions"), *latency],
        "throughput": [*throughput_tables(summary, words), *draft_acceptance(summary, words), *laws],
        "outcomes": outcome_tables(summary, words),
        "batching": [*_drawn(drawings, words, "batches"), *batching_tables(summary, words), *class_tables(summary, words)],
        "kv": [*timelines, *kv_tables(summary, words), *kv_blocks, *reuse_by_request(summary, words)],
        "resources": [*resource_tables(summary, words), *gpu_blocks(summary, words), *costs],
        "client": client_tables(summary, words),
    }


def _appendix(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Section]:
    return [
        _section(words, "rounds", *_rounds(summary, words, drawings), folded=True),
        _section(words, "environment", *environment(summary, words)),
        _section(words, "formulas", *formulas(words), folded=True),
        _section(words, "deployments", *all_deployments(summary, words), folded=True),
        _section(words, "settings", *settings(summary, words), folded=True),
    ]


def _section(words: Words, name: str, *blocks: Block, folded: bool = False) -> Section:
    return Section(words(f"section.{name}"), blocks, folded)


def _drawn(drawings: tuple[str, ...], words: Words, *names: str) -> list[Block]:
    return [Figure(name, words(f"figure.{name}")) for name in names if name in drawings]


def _drawn_of(summary: Summary, words: Words) -> list[Block]:
    if not is_many(summary):
        return []
    names = [result.name for result in shown(summary)]
    return [Paragraph(words("core.drawn", deployments=words.listed(names), count=len(summary.deployments)))]


def _reasons(group: Sequence[Reason], words: Words) -> str:
    """The text of a reason that occurs in several places: the first in full, then the number and names of the others."""
    first, *more = group
    text = _reason(first, words)
    return words("verdict.more", text=text, count=len(more), where=_others(more, words)) if more else text


def _others(more: Sequence[Reason | Finding], words: Words) -> str:
    """The first few places. The text has their number, and summary.json lists all."""
    places = list(dict.fromkeys(f"{one.deployment} {one.stage}".strip() for one in more))
    return words.listed(places if len(places) <= _PLACES else [*places[:_PLACES], "…"])


def _reason(reason: Reason, words: Words) -> str:
    text = words(f"reason.{reason.code}", **reason.figures)
    if not reason.deployment:
        return text
    return words("reason.where", where=f"{reason.deployment} {reason.stage}".strip(), text=text)


def _conclusion(summary: Summary, words: Words) -> list[Block]:
    """The leading sentences of experiments, then bottlenecks and advice from findings, each remedy once."""
    limits, many = [finding for finding in summary.findings if finding.limits], is_many(summary)
    seen = [
        words("conclusion.item", where=_everywhere(finding, more, words), title=_title(finding, more, words))
        for finding, *more in groups_of(limits, many)
    ]
    advice: dict[str, list[str]] = {}
    for finding, *more in groups_of((*limits, *(finding for finding in summary.findings if not finding.limits)), many):
        advice.setdefault(_said(finding, "remedy", words), []).append(_everywhere(finding, more, words))
    items = tuple(words("conclusion.advice_item", text=text, where="; ".join(dict.fromkeys(places))) for text, places in advice.items())
    winners = tuple(sentence for role in roles(ExperimentReport) for sentence in role.leads(summary, words))
    bottlenecks = tuple(seen) or tuple(answers(summary, words))
    leads: list[Block] = [Paragraph(words("conclusion.winner"), strong=True), Bullets(winners)] if winners else []
    return [
        *leads,
        Paragraph(words("conclusion.bottleneck"), strong=True),
        Bullets(bottlenecks) if bottlenecks else Paragraph(_no_limit(summary, words)),
        Paragraph(words("conclusion.advice"), strong=True),
        Bullets(items) if items else Paragraph(words("conclusion.no_advice")),
    ]


def _no_limit(summary: Summary, words: Words) -> str:
    stages = [stage for result in summary.deployments for stage in result.stages if stage.conservation.completed]
    if not stages:
        return words("conclusion.nothing")
    return words("conclusion.no_bottleneck", stage=max(stages, key=lambda s: (s.is_closed_loop, s.span.asked)).span.name)


def _cards(summary: Summary, words: Words) -> list[Block]:
    cards: list[Block] = [
        Card(
            severity=finding.severity,
            severity_label=words(f"severity.{finding.severity}"),
            title=_title(finding, more, words),
            where=_everywhere(finding, more, words),
            lines=tuple(
                (words(f"finding.{part}"), _said(finding, part, words)) for part in _PARTS if words.has_finding(finding.code, part)
            ),
        )
        for finding, *more in groups_of(summary.findings, is_many(summary))
    ]
    return cards or [Paragraph(words("findings.none"))]


def _said(finding: Finding, part: str, words: Words) -> str:
    text = words.finding(finding.code, part, finding.figures)
    if part == "seen" and "agreement_ratio" in finding.figures:
        return f"{text} {words.finding(finding.code, 'seen_more', finding.figures)}"
    return text


def _title(finding: Finding, more: Sequence[Finding], words: Words) -> str:
    """The title, with the doubts about the stages on which the findings are based."""
    return words.doubted(_said(finding, "title", words), [doubt for one in (finding, *more) for doubt in one.doubts])


def _everywhere(finding: Finding, more: Sequence[Finding], words: Words) -> str:
    where = _where(finding, words)
    return words("findings.more", where=where, count=len(more), others=_others(more, words)) if more else where


def _where(finding: Finding, words: Words) -> str:
    return words("finding.where", deployment=finding.deployment, stage=finding.stage) if finding.stage else finding.deployment
