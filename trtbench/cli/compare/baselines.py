"""`trtbench baseline`: which run `trtbench compare` takes as the base, by scenario and machine."""

from __future__ import annotations

from pathlib import Path

import click

from trtbench.cli.flags.translation import TranslatedCommand
from trtbench.cli.flags.values import Place
from trtbench.system.foreign_text import harmless

_SHOWN_DIGITS = 12


@click.group()
def baseline() -> None:
    """Set and show the runs with which `trtbench compare CANDIDATE` compares."""


@baseline.command("set", cls=TranslatedCommand)
@click.argument("run_dir", type=Place())
def set_(run_dir: Path) -> None:
    """Make RUN_DIR the baseline of its scenario on its machine, in place of the earlier one.

    The file baselines.json in the directory of RUN_DIR has the names.
    """
    from trtbench.compare.baseline import set_baseline

    one = set_baseline(run_dir)
    print(harmless(f"{one.run} is the baseline of {one.scenario} on machine {one.machine[:_SHOWN_DIGITS]}"))


@baseline.command(cls=TranslatedCommand)
@click.option("--runs", type=Place(), default=Path("runs"), show_default=True, help="Show the baselines in this directory of runs.")
def show(runs: Path) -> None:
    """Print the baseline of each scenario and machine."""
    from trtbench.compare.baseline import baselines_of

    found = baselines_of(runs)
    for one in found:
        print(harmless(f"{one.scenario}  machine {one.machine[:_SHOWN_DIGITS]}  {one.run}"))
    if not found:
        print(harmless(f"{runs} has no baselines; set one by `trtbench baseline set RUN`"))
