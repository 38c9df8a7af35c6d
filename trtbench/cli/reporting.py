"""Reports of a run directory, from its files alone, and the table that the shell shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trtbench.analysis.summary import Summary, summarise
from trtbench.errors import UserError
from trtbench.report.document import FORMATS, Format, write_reports
from trtbench.report.kit.experiment_report import answers
from trtbench.report.kit.words import Words
from trtbench.report.sections.core import core_table
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.deployment.gpu_settings import Cost
from trtbench.scenario.parts.choices import Language
from trtbench.system.foreign_text import harmless

_FILE_CHARACTERS = 200
_MOST_REASONS, _MOST_CLASSES = 3, 3
_BORDER_CELLS = 3  # of each column: a line and a blank on both sides


def report_run(run_dir: Path, language: str, formats: str = "md,html,json", cost: Cost | None = None) -> Summary:
    """Write the reports, print the table and the files' paths. `cost`: in place of that of the run's scenario. UserError if it is not a run
    directory or not a format.
    """
    chosen = [name.strip() for name in formats.split(",")]
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown:
        raise UserError(f"--format {formats}: unknown format {', '.join(unknown)}; give any of {', '.join(FORMATS)}")
    run = RunDirectory.open(run_dir)
    summary = summarise(run, cost)
    written = write_reports(run, summary, cast(Language, language), cast(list[Format], chosen))
    show(summary, cast(Language, language))
    for path in written:
        if path.suffix != ".png":
            print(harmless(f"{path}"))
    return summary


def show(summary: Summary, language: Language) -> None:
    """Print the core table, or the answers of experiments that have no such table. A narrow terminal shows the columns that fit."""
    header, rows = core_table(summary, language)
    console = Console(highlight=False)
    if found := tuple(answers(summary, Words(language))):
        for sentence in found:
            console.print(harmless(sentence), markup=False, soft_wrap=True)
        _show_verdict(summary, language, console)
        return
    if not console.is_terminal:
        console = Console(highlight=False, width=max(_FILE_CHARACTERS, console.width))
    fitting = _fitting([header, *rows], console.width)
    table = Table()
    for number, name in enumerate(header[:fitting]):
        table.add_column(Text(name), justify="right" if number > 1 else "left")
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row[:fitting]))
    console.print(table)
    if any(stage.uncertainty.changed for result in summary.deployments for stage in result.stages):
        console.print(Words(language)("core.unsteady"), style="dim", soft_wrap=True)
    _show_verdict(summary, language, console)
    if left_out := header[fitting:]:
        console.print(f"({', '.join(left_out)}: see the report)", style="dim")


def _show_verdict(summary: Summary, language: Language, console: Console) -> None:
    reasons = len(summary.verdict.reasons)
    console.print(f"{summary.verdict.status}" + (f" (reasons in the report: {reasons})" if reasons else ""), style="bold")
    for sentence in invalid_because(summary, Words(language, summary.scenario.task)):
        console.print(Text(harmless(sentence)), soft_wrap=True)


def invalid_because(summary: Summary, words: Words) -> Iterator[str]:
    """The first reasons of an INVALID run. If no request completed, also the classes of failure, each with its message and its remedy."""
    invalid = [reason for reason in summary.verdict.reasons if reason.grade == "invalid"]
    for reason in invalid[:_MOST_REASONS]:
        text = words(f"reason.{reason.code}", **reason.figures)
        where = f"{reason.deployment} {reason.stage}".strip()
        yield words("reason.where", where=where, text=text) if where else text
    if not any(reason.code == "nothing_completed" for reason in invalid):
        return
    errors = {finding.code: finding for finding in reversed(summary.findings) if finding.code.startswith("errors_")}
    for code, finding in list(reversed(errors.items()))[:_MOST_CLASSES]:
        yield words.finding(code, "seen", finding.figures)
        yield words.finding(code, "remedy", finding.figures)


def _fitting(rows: Sequence[Sequence[str]], width: int) -> int:
    """The number of first columns that fit into `width` cells; a header may break at its spaces."""
    used = 1
    for number, column in enumerate(zip(*rows, strict=True)):
        longest_word = max(map(cell_len, column[0].split()))
        used += max(longest_word, *map(cell_len, column[1:]), 0) + _BORDER_CELLS
        if used > width:
            return number
    return len(rows[0])
