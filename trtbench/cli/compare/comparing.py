"""`trtbench compare`: differences of a candidate from a base, and gates that decide on their intervals."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trtbench.cli.flags.translation import TranslatedCommand
from trtbench.cli.flags.values import Place, Real, Text
from trtbench.scenario.parts.choices import Language

COMPARE_EXAMPLES = """\b
Examples:
  trtbench compare runs/BASE runs/CANDIDATE
  trtbench compare runs/BASE runs/CANDIDATE --fail-on 'ttft.p99>+5%' --fail-on 'error_ratio>0.1%'
"""


@click.command(cls=TranslatedCommand, epilog=COMPARE_EXAMPLES)
@click.argument("runs", type=Place(), nargs=-1, required=True, metavar="[BASE] CANDIDATE...")
@click.option("--metric", "metrics", multiple=True, type=Text(), metavar="NAME", help="Compare this metric, as ttft.p95. Repeatable.")
@click.option(
    "--fail-on",
    "conditions",
    multiple=True,
    type=Text(),
    metavar="CONDITION",
    help="End with 5 if this is shown, as 'ttft.p99>+5%' or 'c8:error_ratio>0.1%', and with 6 if it is undecided. Repeatable.",
)
@click.option("--json", "json_path", type=Place(), metavar="FILE", help="Write all figures to this file.")
@click.option("--html", "html_path", type=Place(), metavar="FILE", help="Write tables and overlaid latency curves to this file.")
@click.option("--markdown", "markdown_path", type=Place(), metavar="FILE", help="Write the tables as Markdown to this file.")
@click.option("--junit", "junit_path", type=Place(), metavar="FILE", help="Write the conditions as JUnit XML to this file.")
@click.option(
    "--threshold", type=Real(0.0, 100.0), default=2.0, show_default=True, metavar="PERCENT", help="Call smaller differences small."
)
@click.option("--force", is_flag=True, help="Compare runs that are not comparable, and INVALID runs, nevertheless.")
@click.option("--strict", is_flag=True, help="End with 4 if a run is SUSPECT too, not only if one is INVALID.")
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Write the tables in this language.")
def compare(
    runs: tuple[Path, ...],
    metrics: tuple[str, ...],
    conditions: tuple[str, ...],
    threshold: float,
    force: bool,
    strict: bool,
    lang: Language,
    **files: Path | None,
) -> None:
    """Compare each CANDIDATE run with the BASE run, stage by stage, with intervals.

    With one run, the base is the baseline of its scenario and machine (`trtbench baseline set`).
    """
    from trtbench.cli.compare.comparison_console import Asked, compare_command

    sys.exit(compare_command(runs, Asked(metrics, conditions, threshold / 100, force, strict, lang, **files)))
