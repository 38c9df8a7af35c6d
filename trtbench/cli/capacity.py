"""`trtbench capacity`: the highest load that keeps an SLO. It makes a scenario with the key `capacity` of its flags and runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from trtbench.cli.flags.translation import ManyWords, TranslatedCommand
from trtbench.cli.flags.values import Place, Real, Seconds, Text, Whole
from trtbench.cli.options_of_endpoint import EndpointName
from trtbench.errors import UserError
from trtbench.scenario.parts.choices import Language

if TYPE_CHECKING:
    from trtbench.scenario.scenario import Scenario

CAPACITY_EXAMPLES = """\b
Examples:
  trtbench capacity capacity
  trtbench capacity quickstart --slo ttft:500,p99 tpot:50 --by concurrency --most 64
  trtbench capacity quickstart --slo e2e:2s,p95 --by rate --start 0.5 --dry-run
  trtbench capacity --url localhost:8001 --model tensorrt_llm --slo ttft:500,p99 --isl 512 --osl 128
  trtbench capacity --url http://localhost:8000 --model llama --endpoint-type chat --slo ttft:500,p99 --by rate
"""
_KEYS = ("by", "arrivals", "start", "least", "most", "resolution", "probes", "probe_s", "probe_requests")
_OF_URL = ("model", "endpoint_type", "tokenizer", "metrics_url", "api_key_env", "isl", "osl", "random_seed")
_ON_COMMAND_LINE = click.core.ParameterSource.COMMANDLINE
_SEEDS = ("arrivals", "lengths", "prompts", "sampling")


@click.command(cls=TranslatedCommand, epilog=CAPACITY_EXAMPLES)
@click.argument("scenario", type=Place(), required=False)
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
@click.option("--url", multiple=True, type=Text(), metavar="URL", help="Search a server that already runs, in place of SCENARIO.")
@click.option("--model", type=Text(), help="Send requests to this model of --url.")
@click.option(
    "--endpoint-type", type=EndpointName(), default="kserve", show_default=True, metavar="NAME", help="Type of --url, as of bench."
)
@click.option("--tokenizer", type=Place(), help="Make prompts of text with the tokenizer.json in this directory. By default: random ids.")
@click.option("--metrics-url", type=Text(), help="Read Prometheus metrics of --url from this page.")
@click.option("--api-key-env", type=Text(), metavar="VARIABLE", help="Send the key in this environment variable as a bearer token.")
@click.option("--isl", type=Text(), default="128", show_default=True, help="Make prompts of this number of tokens, as 128, or 64:256.")
@click.option("--osl", type=Text(), default="32", show_default=True, help="Request this number of output tokens, as 32, or 16:64.")
@click.option("--random-seed", type=Whole(), default=1, show_default=True, help="Draw arrivals, lengths and prompts from this seed.")
@click.option("--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Set a key of the scenario. It may be repeated.")
@click.option("--dry-run", is_flag=True, help="Print the plan of the search and the longest time that it can take, and run nothing.")
@click.option("--runs", type=Place(), default=Path("runs"), show_default=True, help="Write the run directory into this directory.")
@click.option("--lang", type=click.Choice(get_args(Language)), default="en", show_default=True, help="Write the report in this language.")
@click.option("--quiet", is_flag=True, help="Print errors and the result, but no progress.")
@click.pass_context
def capacity(
    ctx: click.Context,
    /,
    scenario: Path | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    runs: Path,
    lang: Language,
    quiet: bool,
    **flags: Any,
) -> None:
    """Find the highest load at which SCENARIO, or the server at --url, keeps an SLO.

    SCENARIO is a file or the name of a shipped scenario, each of whose deployments is searched. With --slo the search replaces its load;
    without, SCENARIO has the key `capacity`, of which the other flags change parts.
    """
    from trtbench.cli.commands import run_scenario
    from trtbench.cli.dry_run import dry_run as show
    from trtbench.cli.dry_run import preview_in_place_of_load

    given = [name for name in _OF_URL if ctx.get_parameter_source(name) is _ON_COMMAND_LINE]
    asked = _asked(scenario, (*_overrides(flags), *overrides), flags, given)
    if preview_in_place_of_load(asked) is None:
        raise UserError(f"{scenario} has no search (capacity): give --slo, as --slo ttft:500,p99 tpot:50")
    if dry_run:
        show(asked)
    else:
        sys.exit(run_scenario(asked, runs, lang, quiet))


def _asked(scenario: Path | None, overrides: tuple[str, ...], flags: Mapping[str, Any], given: list[str]) -> Scenario:
    """The scenario that the command line describes."""
    from trtbench.scenario.reading import find_scenario, load_scenario, parse_scenario

    if scenario and (flags["url"] or given):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in (["url"] if flags["url"] else given))
        raise UserError(f"{scenario} says what is measured: leave out {named}, or change it with --set")
    if scenario:
        return load_scenario(find_scenario(scenario), overrides)
    if not (flags["url"] and flags["model"] and flags["slo"]):
        raise UserError("give a SCENARIO (`trtbench scenarios` lists those that ship), or --url, --model and --slo")
    return parse_scenario(_of_url(flags), "capacity", overrides)


def _of_url(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The scenario of a running server."""
    from trtbench.cli.flags.bench_scenario import tokens_of

    tokenizer = flags["tokenizer"] and str(flags["tokenizer"])
    endpoint = {"type": flags["endpoint_type"], "urls": list(flags["url"]), "tokenizer": tokenizer}
    return {
        "name": "capacity",
        "purpose": "the highest load of a running server within an SLO",
        "model": flags["model"],
        "endpoint": endpoint | {key: flags[key] for key in ("metrics_url", "api_key_env")},
        "workload": {"input_tokens": tokens_of("--isl", flags["isl"]), "output_tokens": tokens_of("--osl", flags["osl"])},
        "seeds": dict.fromkeys(_SEEDS, flags["random_seed"]),
    }


def _overrides(flags: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a scenario that the flags of the search set."""
    if flags["slo"]:
        yield "load=[]"
        yield f"capacity.slo={json.dumps([clause for words in flags['slo'] for clause in words.split()])}"
    given = {key: flags[key] for key in _KEYS if flags[key] is not None}
    if "resolution" in given:
        given["resolution"] /= 100
    yield from (f"capacity.{key}={json.dumps(value)}" for key, value in given.items())
