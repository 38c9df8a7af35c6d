"""The flags of `trtbench build` that are keys of a spec's `build:`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from trtbench.cli.flags.types import Place, Text, Whole

_OPTIONS = (
    click.option("--kv-dtype", type=click.Choice(["auto", "int8", "fp8"]), help="KV cache the engine is built for. Default: 16 bit."),
    click.option("--max-batch-size", type=Whole(), help="Most sequences at once. TensorRT-LLM's default: 2048."),
    click.option("--max-input-len", type=Whole(), help="Longest prompt; packed input ignores it."),
    click.option("--max-seq-len", type=Whole(), help="Longest prompt and output. Default: the model's positions."),
    click.option("--max-num-tokens", type=Whole(), help="Most tokens in one step. TensorRT-LLM's default: 8192."),
    click.option("--tp", type=Whole(), help="Tensor parallelism."),
    click.option("--pp", type=Whole(), help="Pipeline parallelism."),
    click.option("--kv-block-tokens", type=Whole(), help="Tokens of a KV block (tokens_per_block)."),
    click.option("--paged-context-fmha/--no-paged-context-fmha", default=None, help="For KV reuse and chunked prefill."),
    click.option(
        "--plugin",
        "plugins",
        multiple=True,
        type=Text(),
        metavar="NAME=VALUE",
        help="A plugin flag of trtllm-build, as gemm_plugin=float16.",
    ),
    click.option("--workers", type=Whole(), help="Ranks built at once."),
    click.option("--dummy-weights", is_flag=True, default=None, help="Random weights: an engine to measure speed with."),
    click.option("--route", type=click.Choice(["auto", "llm_api", "trtllm_build"]), help="Default: the LLM API for one GPU."),
    click.option("--smoothquant", type=click.Choice(["modelopt", "plugin"]), help="How int8-sq is made. Default: modelopt."),
    click.option("--calibration-dir", type=Place(), help="Directory with train.jsonl; default: trtbench's texts."),
    click.option("--calibration-samples", type=Whole(), help="Texts to calibrate on."),
    click.option("--engine-dir", type=Place(), help="Adopt this finished TensorRT-LLM engine after checking it."),
)


def build_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
