"""Options of `trtbench build`, which are keys of a spec's `build:`, and the example that `--help` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import click

from trtbench.cli.flags.values import Place, Text, Whole
from trtbench.scenario.parts.choices import BuildRoute, BuiltKvDtype, SmoothQuant

BUILD_EXAMPLES = """\b
Examples:
  trtbench build smollm2-135m --dtype int8
"""

_BUILD_OPTIONS = (
    click.option(
        "--kv-dtype",
        type=click.Choice(get_args(BuiltKvDtype)),
        help="Build the engine for a KV cache of this type. The default is auto, 16 bit.",
    ),
    click.option("--max-batch-size", type=Whole(), help="Run at most this number of sequences at once. TensorRT-LLM's default is 2048."),
    click.option(
        "--max-input-len", type=Whole(), help="Allow prompts of up to this number of tokens. TensorRT-LLM ignores it with packed input."
    ),
    click.option(
        "--max-seq-len",
        type=Whole(),
        help="Allow up to this number of tokens for prompt and output together. The default is the model's number of positions.",
    ),
    click.option(
        "--max-num-tokens", type=Whole(), help="Compute at most this number of tokens in one engine step. TensorRT-LLM's default is 8192."
    ),
    click.option("--tp", type=Whole(), help="Split each layer over this number of GPUs (tensor parallelism)."),
    click.option("--pp", type=Whole(), help="Split the layers into this number of groups (pipeline parallelism)."),
    click.option("--kv-block-tokens", type=Whole(), help="Make KV blocks of this number of tokens (tokens_per_block)."),
    click.option(
        "--paged-context-fmha/--no-paged-context-fmha",
        default=None,
        help="Build attention over the paged KV cache for prefill, which KV reuse and chunked prefill need.",
    ),
    click.option(
        *("--plugin", "plugins"),
        multiple=True,
        type=Text(),
        metavar="NAME=VALUE",
        help="Give trtllm-build this plugin flag, as gemm_plugin=float16. The option may be repeated.",
    ),
    click.option("--workers", type=Whole(), help="Build this number of ranks at once. The default is all ranks."),
    click.option(
        "--dummy-weights",
        is_flag=True,
        default=None,
        help="Build an engine with random weights. Its speed can be measured, but its text is meaningless.",
    ),
    click.option(
        "--route",
        type=click.Choice(get_args(BuildRoute)),
        help="Build with the LLM API or with trtllm-build. The default, auto, is the LLM API for one GPU and trtllm-build for more.",
    ),
    click.option(
        "--smoothquant",
        type=click.Choice(get_args(SmoothQuant)),
        help="Quantise int8-sq with ModelOpt or with TensorRT-LLM's plugins. The default is modelopt.",
    ),
    click.option(
        "--calibration-dir",
        type=Place(),
        help="Calibrate on the texts of train.jsonl in this directory. The default is trtbench's own texts.",
    ),
    click.option("--calibration-samples", type=Whole(), help="Calibrate on this number of texts."),
    click.option(
        "--engine-dir", type=Place(), help="Adopt the finished TensorRT-LLM engine in this directory after checking it, and build nothing."
    ),
)


def build_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_BUILD_OPTIONS):
        command = option(command)
    return command
