"""`trtbench export`: the results of a run in the files of another tool."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import click

from trtbench.cli.flags.translation import TranslatedCommand
from trtbench.cli.flags.values import Place
from trtbench.scenario.parts.choices import ExportFormat
from trtbench.system.foreign_text import harmless

EXPORT_EXAMPLES = """\b
Examples:
  trtbench export examples/precision --format aiperf --output aiperf
  trtbench export examples/precision --format csv --output tables
"""


@click.command(cls=TranslatedCommand, epilog=EXPORT_EXAMPLES)
@click.argument("run_dir", type=Place())
@click.option("--format", "name", type=click.Choice(get_args(ExportFormat)), required=True, help="Write the files of this tool.")
@click.option("--output", type=Place(), required=True, metavar="DIR", help="Write into this new directory, a folder for each stage.")
def export(run_dir: Path, name: str, output: Path) -> None:
    """Write the results of RUN_DIR in the files of another tool.

    Each stage of each deployment gets a folder. The field names and definitions are those of the other tool: its latencies count from the
    time when a request was sent. csv is a table of requests by trtbench's own definitions.
    """
    from trtbench.export.writers import WRITERS, export_run

    writer = WRITERS[name]
    for path in export_run(run_dir, writer, output):
        print(harmless(f"{path}"))
    print(f"Not in these files: {writer.lacks}.", file=sys.stderr)
