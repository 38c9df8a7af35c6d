"""Reports of a run directory, from its files alone, and what the shell shows of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trtbench.analysis.summary import Summary, summarise
from trtbench.errors import UserError
from trtbench.report.core import core_table
from trtbench.report.document import FORMATS, Format, write_reports
from trtbench.rundir import RunDirectory

Language = Literal["en", "zh"]


def report_run(run_dir: Path, language: str, formats: str = "md,html,json") -> Summary:
    """Write the reports, print the table and the files' paths. UserError for what is no run directory or no format."""
    chosen = [name.strip() for name in formats.split(",")]
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown:
        raise UserError(f"--format {formats}: {', '.join(unknown)} is none of {', '.join(FORMATS)}")
    run = RunDirectory.open(run_dir)
    summary = summarise(run)
    written = write_reports(run, summary, cast(Language, language), cast(list[Format], chosen))
    show(summary, cast(Language, language))
    for path in written:
        if path.suffix != ".png":
            print(f"{path}")
    return summary


def show(summary: Summary, language: Language) -> None:
    """The core table on standard output."""
    header, rows = core_table(summary, language)
    table = Table()
    for number, name in enumerate(header):
        table.add_column(Text(name), justify="right" if number > 1 else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(200, console.width))
    console.print(table)
