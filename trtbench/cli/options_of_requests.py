"""Options that say what the requests are, of `trtbench bench` and `trtbench dataset`, under the names that other tools use."""

from __future__ import annotations

from typing import get_args

import click

from trtbench.cli.flags.values import INT32_MAX, Place, Real, Text, Whole
from trtbench.scenario.parts.choices import DatasetFormat, PromptLanguage, TraceFormat

FORMATS = (*get_args(DatasetFormat), *get_args(TraceFormat))

REQUEST_OPTIONS = (
    click.option(
        "--prompt-language",
        type=click.Choice(get_args(PromptLanguage)),
        multiple=True,
        help="Take the text for --tokenizer in this language. The default is both languages.",
    ),
    click.option(
        *("--isl", "--synthetic-input-tokens-mean"),
        default="128",
        show_default=True,
        type=Text(),
        help="Make prompts of this number of tokens, as 128, or 64:256 for a uniform distribution.",
    ),
    click.option(
        *("--isl-stddev", "--synthetic-input-tokens-stddev"),
        type=Real(0, INT32_MAX),
        default=0.0,
        show_default=True,
        help="Draw prompt lengths from a normal distribution with this standard deviation and the mean --isl.",
    ),
    click.option(
        *("--osl", "--output-tokens-mean"),
        default="32",
        show_default=True,
        type=Text(),
        help="Request this number of output tokens, as 32, or 16:64 for a uniform distribution.",
    ),
    click.option(
        *("--osl-stddev", "--output-tokens-stddev"),
        type=Real(0, INT32_MAX),
        default=0.0,
        show_default=True,
        help="Draw output lengths from a normal distribution with this standard deviation and the mean --osl.",
    ),
    click.option(
        "--num-prefix-prompts",
        type=Whole(),
        default=0,
        show_default=True,
        help="Draw this number of shared prefixes and begin each prompt with one of them.",
    ),
    click.option(
        "--prefix-prompt-length",
        type=Whole(),
        default=0,
        show_default=True,
        help="Make each shared prefix of this number of tokens, in addition to --isl.",
    ),
    click.option(
        "--input-file",
        type=Place(),
        help="Take prompts from this file in place of --isl (docs/datasets.md has the formats).",
    ),
    click.option(
        "--dataset-format",
        type=click.Choice(FORMATS),
        help="Read every row of --input-file in this format. By default each row, or the header of a table, shows its own.",
    ),
)
