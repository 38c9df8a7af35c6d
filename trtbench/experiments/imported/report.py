"""The report's section on results that another tool measured."""

from __future__ import annotations

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.experiments.imported.analysis import IMPORTED, MODE
from trtbench.report.kit.blocks import Block, Bullets, Paragraph, Section, Table
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.words import Words

_HEADLINE = {
    "requests": "request_info.num_requests",
    "seconds_ms": "performance.total_latency_ms",
    "request_rate": "performance.request_throughput_req_s",
    "token_rate": "performance.system_output_throughput_tok_s",
}


def _value(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"


def _sections(summary: Summary, words: Words, _: tuple[str, ...]) -> list[Section]:
    imported = summary.found[IMPORTED]
    if imported is None:
        return []
    figures = tuple((figure.name, _value(figure.value)) for figure in imported.figures)
    facts = tuple(imported.facts.items())
    blocks: list[Block] = [
        Paragraph(words("imported.note", tool=imported.tool, file=imported.file)),
        Table(words.header("imported_name", "imported_value"), figures, words("imported.figures", tool=imported.tool)),
        *([Table(words.header("imported_name", "imported_value"), facts, words("imported.facts"), numeric=False)] if facts else []),
        Paragraph(words("imported.lacks"), strong=True),
        Bullets(tuple(words(f"imported.lacks_{code}") for code in imported.lacks)),
    ]
    return [Section(words("section.imported", tool=imported.tool), tuple(blocks))]


def _answer(summary: Summary, words: Words) -> list[str]:
    imported = summary.found[IMPORTED]
    if imported is None:
        return []
    known = {figure.name: figure.value for figure in imported.figures}
    shown = {name: _value(known[key]) if key in known else "-" for name, key in _HEADLINE.items()}
    return [words("imported.answer", tool=imported.tool, **shown)]


def _replaces_load(result: DeploymentResult) -> bool:
    return result.facts.mode == MODE


REPORT = ExperimentReport(sections=_sections, answer=_answer, replaces_load=_replaces_load)
