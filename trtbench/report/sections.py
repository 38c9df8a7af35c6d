"""The report, section by section, from a Summary: the template's first four, then the detail."""

from __future__ import annotations

from trtbench.analysis.summary import Finding, Reason, Summary
from trtbench.report.blocks import Block, Bullets, Card, Document, Figure, Paragraph, Section
from trtbench.report.client import client_tables
from trtbench.report.comparison import comparison_section
from trtbench.report.context_limit import limit_blocks, limit_sentences
from trtbench.report.core import core_blocks
from trtbench.report.facts import environment, formulas, parameters, settings, target
from trtbench.report.format import seconds, utc
from trtbench.report.frontier import frontier_blocks
from trtbench.report.gpu import gpu_blocks
from trtbench.report.groups import group_tables
from trtbench.report.kv_detail import kv_detail
from trtbench.report.reloads import reload_blocks
from trtbench.report.scaling import scaling_blocks
from trtbench.report.tables import batching_tables, kv_tables, latency_tables, outcome_tables, resource_tables, throughput_tables
from trtbench.report.words import Words


def document(summary: Summary, words: Words, drawings: tuple[str, ...]) -> Document:
    """`drawings` names the figures that there are; a figure without data has no place in the report."""
    verdict = summary.verdict
    return Document(
        language="zh-CN" if words.language == "zh" else "en",
        title=words("document.title", name=summary.scenario.name),
        subtitle=words(
            "document.subtitle", model=summary.scenario.model, started=utc(summary.started_utc), duration=seconds(summary.wall_s)
        ),
        status=verdict.status,
        verdict=words(f"verdict.{verdict.status}"),
        reasons=tuple(_reason(reason, words) for reason in verdict.reasons) or (words("verdict.no_reasons"),),
        sections=tuple(section for section in _sections(summary, words, drawings) if section.blocks),
        foot=words("document.foot", version=summary.environment.trtbench_version, run=summary.run),
        incomplete="" if summary.complete else words("document.incomplete"),
    )


def _sections(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Section]:
    def section(name: str, *blocks: Block, folded: bool = False) -> Section:
        return Section(words(f"section.{name}"), blocks, folded)

    def drawn(*names: str) -> list[Block]:
        return [Figure(name, words(f"figure.{name}")) for name in names if name in drawings]

    timelines: list[Block] = [
        Figure(name, words("figure.timeline", deployment=result.name))
        for result in summary.deployments
        if (name := f"timeline-{result.name}") in drawings
    ]
    return [
        section("target", *target(summary, words)),
        section("parameters", *parameters(summary, words)),
        section("limit", *limit_blocks(summary, words, drawings)),
        section("hot_reload", *reload_blocks(summary, words)),
        section("frontier", *drawn("frontier"), *frontier_blocks(summary, words)),
        section("scaling", *drawn("scaling"), *scaling_blocks(summary, words)),
        section("metrics", *core_blocks(summary, words), *drawn("throughput", "latency", "latency_rate")),
        section("conclusion", *_conclusion(summary, words)),
        *[comparison_section(summary, pair, words) for pair in summary.comparisons],
        section("findings", *_cards(summary, words)),
        section("latency", *drawn("distributions"), *latency_tables(summary, words), *group_tables(summary, words)),
        section("throughput", *throughput_tables(summary, words)),
        section("outcomes", *outcome_tables(summary, words)),
        section("batching", *drawn("batches"), *batching_tables(summary, words)),
        section("kv", *timelines, *kv_tables(summary, words), *kv_detail(summary, words)),
        section("resources", *resource_tables(summary, words), *gpu_blocks(summary, words)),
        section("client", *client_tables(summary, words)),
        section("environment", *environment(summary, words)),
        section("formulas", *formulas(words), folded=True),
        section("settings", *settings(summary, words), folded=True),
    ]


def _reason(reason: Reason, words: Words) -> str:
    text = words(f"reason.{reason.code}", **reason.figures)
    if not reason.deployment:
        return text
    return words("reason.where", where=f"{reason.deployment} {reason.stage}".strip(), text=text)


def _conclusion(summary: Summary, words: Words) -> list[Block]:
    """Bottlenecks and advice, both from findings alone; each remedy once."""
    limits = [finding for finding in summary.findings if finding.limits]
    seen = [
        words("conclusion.item", where=_where(finding, words), title=_said(finding, "title", words), seen=_said(finding, "seen", words))
        for finding in limits
    ]
    advice: dict[str, list[str]] = {}
    for finding in (*limits, *(finding for finding in summary.findings if not finding.limits)):
        advice.setdefault(_said(finding, "remedy", words), []).append(_where(finding, words))
    items = tuple(words("conclusion.advice_item", text=text, where="; ".join(dict.fromkeys(places))) for text, places in advice.items())
    return [
        Paragraph(words("conclusion.bottleneck"), strong=True),
        Bullets(tuple(seen)) if seen else limit_sentences(summary, words) or Paragraph(_no_limit(summary, words)),
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
            title=_said(finding, "title", words),
            where=_where(finding, words),
            lines=tuple((words(f"finding.{part}"), _said(finding, part, words)) for part in ("seen", "cause", "remedy")),
        )
        for finding in summary.findings
    ]
    return cards or [Paragraph(words("findings.none"))]


def _said(finding: Finding, part: str, words: Words) -> str:
    return words.finding(finding.code, part, finding.figures)


def _where(finding: Finding, words: Words) -> str:
    return words("finding.where", deployment=finding.deployment, stage=finding.stage) if finding.stage else finding.deployment
