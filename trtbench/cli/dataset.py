"""`trtbench dataset`: the requests of a scenario, or of flags, as a file that other tools read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, get_args

import click

from trtbench.cli.flags.translation import TranslatedCommand
from trtbench.cli.flags.values import INT32_MAX, Place, Real, Whole
from trtbench.cli.options_of_requests import REQUEST_OPTIONS
from trtbench.errors import UserError, naming
from trtbench.scenario.parts.choices import WrittenDataset
from trtbench.system.foreign_text import harmless

DATASET_EXAMPLES = """\b
Examples:
  trtbench dataset --format trtllm-bench --isl 128 --isl-stddev 16 --osl 64 --num-prompts 100 --output requests.jsonl
  trtbench dataset quickstart --set load.0.requests=20 --format trtllm-bench --output quickstart.jsonl
  trtbench dataset --format mooncake --request-rate 5 --num-prompts 50 --output trace.jsonl
"""
_WITH_SCENARIO = ("format", "output", "scenario", "overrides", "tokenizer", "vocab_size")
_ON_COMMAND_LINE = click.core.ParameterSource.COMMANDLINE


def _request_options(command: Any) -> Any:
    for option in reversed(REQUEST_OPTIONS):
        command = option(command)
    return command


@click.command(cls=TranslatedCommand, epilog=DATASET_EXAMPLES)
@click.argument("scenario", type=Place(), required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Set a key of SCENARIO. The option may be repeated.")
@click.option("--format", type=click.Choice(get_args(WrittenDataset)), required=True, help="Write this format (docs/datasets.md).")
@click.option("--output", type=Place(), required=True, metavar="FILE", help="Write the rows into this file.")
@click.option("--tokenizer", type=Place(), help="Make prompts of text with the tokenizer.json in this directory. By default: random ids.")
@click.option("--vocab-size", type=Whole(2, INT32_MAX), default=32000, show_default=True, help="Draw random token ids below this number.")
@_request_options
@click.option("--num-prompts", type=Whole(1), default=1000, show_default=True, help="Write this number of rows.")
@click.option("--request-rate", type=Real(), help="Draw Poisson arrivals at this number of requests per second, for mooncake.")
@click.option("--random-seed", type=Whole(), default=1, show_default=True, help="Draw lengths and prompts from this seed.")
@click.pass_context
def dataset(ctx: click.Context, /, **flags: Any) -> None:
    """Write the measured requests of SCENARIO, or those that the options describe, as a data set for another tool.

    trtbench draws the same requests for a run with the same seed, options and tokenizer.
    """
    given = [name for name in flags if ctx.get_parameter_source(name) is _ON_COMMAND_LINE and name not in _WITH_SCENARIO]
    if flags["scenario"] and given:
        shown = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"{flags['scenario']} says what the requests are: leave out {shown}, or change it with --set")
    if flags["overrides"] and not flags["scenario"]:
        raise UserError("--set changes a SCENARIO, and none is given: name one, or leave --set out")
    _write(flags)


def _write(flags: Mapping[str, Any]) -> None:
    from trtbench.plan.dataset_lines import DATASET_FORMATS, json_lines
    from trtbench.plan.draw import draw_plan
    from trtbench.plan.sources.prompt_source import CorpusPrompts, UniformPrompts

    asked = _scenario(flags)
    tokenizer, languages = flags["tokenizer"], asked.workload.languages
    prompts = CorpusPrompts.of_engine(tokenizer, languages, asked.task) if tokenizer else UniformPrompts(flags["vocab_size"])
    plan = draw_plan(asked, prompts)
    form, path = DATASET_FORMATS[flags["format"]], flags["output"]
    lines = list(json_lines(form, plan))
    with naming(path), path.open("w", encoding="utf-8") as file:
        file.writelines(lines)
    print(harmless(f"{path}: {len(lines)} requests"))
    for note in plan.facts(f"not in this file: {form.lacks}").notes:
        print(harmless(note), file=sys.stderr)


def _scenario(flags: Mapping[str, Any]) -> Any:
    """The scenario that the command line names, or one stage of the requests that its options describe."""
    from trtbench.cli.flags.bench_scenario import prompts_of
    from trtbench.cli.flags.explained import BENCH_FLAGS, flag_error
    from trtbench.scenario.load.measurement import Seeds
    from trtbench.scenario.parts.part import ScenarioError
    from trtbench.scenario.reading import find_scenario, load_scenario, parse_scenario

    if flags["scenario"]:
        return load_scenario(find_scenario(flags["scenario"]), flags["overrides"])
    rate = flags["request_rate"]
    level: dict[str, Any] = {"concurrency": 1} if rate is None else {"mode": "poisson", "rate": rate}
    tree = {
        "name": "dataset",
        "load": [level | {"requests": flags["num_prompts"]}],
        "workload": prompts_of({**flags, "fixed_schedule": False}),
        "seeds": dict.fromkeys(Seeds.model_fields, flags["random_seed"]),
    }
    try:
        return parse_scenario(tree, "dataset")
    except ScenarioError as error:
        raise flag_error(error.problems, BENCH_FLAGS) from error
