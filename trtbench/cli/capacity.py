"""`trtbench capacity`: the highest load that keeps an SLO. It makes a scenario's key `capacity` of its flags and runs the scenario."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import click

from trtbench.cli.flags.translation import ManyWords, TranslatedCommand
from trtbench.cli.flags.values import Place, Real, Seconds, Whole
from trtbench.errors import UserError
from trtbench.scenario.parts.choices import Language

CAPACITY_EXAMPLES = """\b
Examples:
  trtbench capacity capacity
  trtbench capacity quickstart --slo ttft:500,p99 tpot:50 --by concurrency --most 64
  trtbench capacity quickstart --slo e2e:2s,p95 --by rate --start 0.5 --dry-run
"""
_KEYS = ("by", "arrivals", "start", "least", "most", "resolution", "probes", "probe_s", "probe_requests")


@click.command(cls=TranslatedCommand, epilog=CAPACITY_EXAMPLES)
@click.argument("scenario", type=Place())
@click.option(
    "--slo",
    cls=ManyWords,
    multiple=True,
    metavar="NAME:MS,pN ...",
    help="Find the load that keeps these limits, as ttft:500,p99 tpot:50: 99 % of the requests have a TTFT of at most 500 ms. The names "
    "are ttft, itl, tpot and e2e; the default percentile is 99.",
)
@click.option("--by", type=click.Choice(("concurrency", "rate")), help="Raise users of a closed loop, or requests per second.")
@click.option("--arrivals", type=click.Choice(("poisson", "constant")), help="Draw the arrivals of --by rate so.")
@click.option("--start", type=Real(), help="Begin with this load.")
@click.option("--least", type=Real(), help="Try no smaller load.")
@click.option("--most", type=Real(), help="Try no larger load.")
@click.option("--resolution", type=Real(), metavar="PERCENT", help="End when the loads on both sides differ by this percentage.")
@click.option("--probes", type=Whole(), help="Send at most this number of probes to each deployment.")
@click.option("--probe-duration", "probe_s", type=Seconds(), metavar="S", help="End a probe after this number of seconds.")
@click.option("--probe-requests", type=Whole(), help="End a probe after this number of requests.")
@click.option("--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Set a key of SCENARIO. The option may be repeated.")
@click.option("--dry-run", is_flag=True, help="Print the plan of the search and the longest time that it can take, and run nothing.")
@click.option("--runs", type=Place(), default=Path("runs"), show_default=True, help="Write the run directory into this directory.")
@click.option("--lang", type=click.Choice(get_args(Language)), default="en", show_default=True, help="Write the report in this language.")
@click.option("--quiet", is_flag=True, help="Print errors and the result, but no progress.")
def capacity(scenario: Path, overrides: tuple[str, ...], dry_run: bool, runs: Path, lang: str, quiet: bool, **flags: Any) -> None:
    """Find the highest load at which each deployment of SCENARIO keeps an SLO.

    SCENARIO is a file or the name of a shipped scenario. With --slo the search replaces its load, whatever it is; without, SCENARIO has
    the key `capacity`, of which the other flags change parts.
    """
    from trtbench.cli.commands import asked_for, serve_and_bench_command
    from trtbench.cli.dry_run import dry_run as show
    from trtbench.cli.dry_run import preview_in_place_of_load

    overrides += tuple(_overrides(flags))
    asked = asked_for(scenario, overrides, search=False)
    if preview_in_place_of_load(asked) is None:
        raise UserError(f"{scenario} has no search (capacity): give --slo, as --slo ttft:500,p99 tpot:50")
    if dry_run:
        show(asked)
    else:
        sys.exit(serve_and_bench_command(scenario, overrides, False, runs, lang, quiet))


def _overrides(flags: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a scenario that the flags set."""
    if flags["slo"]:
        yield "load=[]"
        yield f"capacity.slo={json.dumps([clause for words in flags['slo'] for clause in words.split()])}"
    given = {key: flags[key] for key in _KEYS if flags[key] is not None}
    if "resolution" in given:
        given["resolution"] /= 100
    yield from (f"capacity.{key}={json.dumps(value)}" for key, value in given.items())
