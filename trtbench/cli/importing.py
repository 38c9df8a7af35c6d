"""`trtbench import`: a run directory of the results that another tool measured."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trtbench.cli.flags.translation import TranslatedCommand
from trtbench.cli.flags.values import Place
from trtbench.scenario.parts.choices import Language
from trtbench.system.foreign_text import harmless

IMPORT_EXAMPLES = """\b
Examples:
  trtbench import trtllm-bench report.json
  trtbench import trtllm-bench report.json --iteration-log iterations.log
"""


@click.command("import", cls=TranslatedCommand, epilog=IMPORT_EXAMPLES)
@click.argument("tool", type=click.Choice(["trtllm-bench"]))
@click.argument("report", type=Place())
@click.option("--iteration-log", type=Place(), metavar="FILE", help="Read the engine's iterations from this file of --iteration_log.")
@click.option("--runs", type=Place(), default=Path("runs"), show_default=True, help="Write the run directory into this directory.")
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Write the report in this language.")
def import_results(tool: str, report: Path, iteration_log: Path | None, runs: Path, lang: Language) -> None:
    """Make a run directory of REPORT, which TOOL wrote, and its report.

    The verdict of such a run is SUSPECT at best, because trtbench did not measure it. The report lists what it cannot hold.
    """
    from trtbench.cli.reporting import report_run
    from trtbench.experiments.registry import roles
    from trtbench.run.result_importer import ResultImporter

    importer = next(role.tools[tool] for role in roles(ResultImporter) if tool in role.tools)
    run, said = importer(report, iteration_log, runs, sys.argv)
    if said:
        print(harmless(said), file=sys.stderr)
    report_run(run.path, lang)
