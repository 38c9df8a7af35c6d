"""What `trtbench compare` does and prints, and the exit code with which it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trtbench.analysis.named_figures import NamedFigure, figure_named
from trtbench.analysis.summary import Summary
from trtbench.cli.compare.exit_codes import INVALID_RUN, NOT_COMPARABLE, code_of_decisions
from trtbench.cli.flags.values import check_can_write
from trtbench.compare.baseline import baseline_for
from trtbench.compare.compared_metric import usual_metrics
from trtbench.compare.compared_runs import Comparison, ReadRun, compare
from trtbench.compare.decision import Decision, decide
from trtbench.compare.gate import Gate, read_gate
from trtbench.errors import UserError
from trtbench.report.comparison.comparison_json import comparison_json
from trtbench.report.comparison.comparison_page import comparison_document, refused, scope_note, warnings_of
from trtbench.report.comparison.comparison_rows import GATE_HEADER, HEADER, difference_rows, gate_rows
from trtbench.report.comparison.junit import junit_xml
from trtbench.report.document import as_html, as_markdown
from trtbench.report.kit.words import Words
from trtbench.rundir.lines import write_json, write_whole
from trtbench.scenario.parts.choices import Language
from trtbench.system.foreign_text import harmless
from trtbench.tasks.registry import TASKS

_FILE_CHARACTERS = 200


@dataclass(frozen=True)
class Asked:
    """The flags of `trtbench compare`."""

    metrics: tuple[str, ...]
    conditions: tuple[str, ...]
    threshold_ratio: float
    force: bool
    strict: bool
    language: Language
    json_path: Path | None = None
    html_path: Path | None = None
    markdown_path: Path | None = None
    junit_path: Path | None = None

    def files(self) -> dict[str, Path]:
        """The files to write, by their flags."""
        named = {"--json": self.json_path, "--html": self.html_path, "--markdown": self.markdown_path, "--junit": self.junit_path}
        return {flag: path for flag, path in named.items() if path}


def compare_command(runs: Sequence[Path], asked: Asked) -> int:
    """Every flag is checked before a run is read. UserError for a flag or a run directory that cannot be used."""
    gates = [read_gate(text) for text in asked.conditions]
    for flag, path in asked.files().items():
        check_can_write(flag, path)
    metrics = [figure_named(name, "--metric") for name in asked.metrics]
    base, *candidates = runs if len(runs) > 1 else (baseline_for(runs[0]), runs[0])
    of_base = ReadRun(base)
    chosen = _with_gated(metrics or usual_metrics(TASKS[of_base.summary.scenario.task]), gates)
    compared = [compare(of_base, ReadRun(path), chosen) for path in candidates]
    for gate in gates:
        _check_names(gate, compared)
    decisions = decide(gates, [one for comparison in compared for one in comparison.differences], asked.force)
    words = Words(asked.language, of_base.summary.scenario.task)
    for comparison in compared:
        if not comparison.differences or (comparison.refusals and not asked.force):
            print(harmless(f"trtbench: {refused(comparison, words)}"), file=sys.stderr)
            return NOT_COMPARABLE
    for comparison in compared:
        show(comparison, decisions, asked, words)
    _write(compared, decisions, asked, words)
    doubtful = () if asked.force else ("INVALID", "SUSPECT") if asked.strict else ("INVALID",)
    if any(one.verdict.status in doubtful for one in _summaries(compared)):
        return INVALID_RUN
    return code_of_decisions(decisions)


def _check_names(gate: Gate, compared: Sequence[Comparison]) -> None:
    """UserError for a deployment or a stage that no run has. One that only some runs have leaves the condition undecided."""
    known = dict.fromkeys((one.name, stage.span.name) for run in _summaries(compared) for one in run.deployments for stage in one.stages)
    if not any(gate.names(deployment, stage) for deployment, stage in known):
        listed = ", ".join(f"{deployment}/{stage}" for deployment, stage in known) or "none"
        raise UserError(f"--fail-on {gate.text}: no run has such a stage; the stages are {listed}")


def _write(compared: Sequence[Comparison], decisions: Sequence[Decision], asked: Asked, words: Words) -> None:
    if asked.json_path:
        write_json(asked.json_path, comparison_json(compared, decisions, asked.threshold_ratio))
    if asked.junit_path:
        write_whole(asked.junit_path, junit_xml(decisions, words))
    if asked.markdown_path:
        page = comparison_document(compared, decisions, asked.threshold_ratio, words, ())
        write_whole(asked.markdown_path, as_markdown(page).encode())
    if asked.html_path:
        from trtbench.report.comparison.overlaid_curves import overlaid_curves  # matplotlib takes most of a second to import

        drawings = overlaid_curves(compared, words)
        page = comparison_document(compared, decisions, asked.threshold_ratio, words, drawings)
        write_whole(asked.html_path, as_html(page, drawings).encode())


def show(comparison: Comparison, decisions: Sequence[Decision], asked: Asked, words: Words) -> None:
    """Print what speaks against the comparison, the gates and the differences."""
    console = wide_console()
    names = {"base": comparison.base.run, "candidate": comparison.candidate.run}
    console.print(Text(harmless(words("compare.title", **names))), style="bold", soft_wrap=True)
    for sentence in warnings_of(comparison, words):
        console.print(Text(harmless(sentence)), soft_wrap=True)
    console.print(
        _table((*words.header(*HEADER), words("col.compared_call")), difference_rows(comparison, asked.threshold_ratio, words), 3)
    )
    console.print(Text(scope_note(comparison, asked.threshold_ratio, words)), style="dim", soft_wrap=True)
    show_gates([one for one in decisions if one.difference is None or one.difference.candidate_run == comparison.candidate.run], words)


def show_gates(decisions: Sequence[Decision], words: Words) -> None:
    if decisions:
        wide_console().print(_table(words.header(*GATE_HEADER), gate_rows(decisions, words), len(GATE_HEADER)))


def wide_console() -> Console:
    """Standard output; in a file, lines are long enough for the tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=max(_FILE_CHARACTERS, console.width))


def _with_gated(metrics: Sequence[NamedFigure], gates: Sequence[Gate]) -> list[NamedFigure]:
    return list(dict.fromkeys([*metrics, *(gate.metric for gate in gates)]))


def _summaries(compared: Sequence[Comparison]) -> Iterator[Summary]:
    for one in compared:
        yield from (one.base, one.candidate)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], labels: int) -> Table:
    table = Table()
    for number, name in enumerate(header):
        table.add_column(Text(name), justify="left" if number < labels or number == len(header) - 1 else "right")
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))
    return table
