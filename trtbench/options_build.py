"""The flags of `trtbench build` that are keys of a spec's `build:`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_OPTIONS = (
    click.option("--kv-dtype", type=click.Choice(["auto", "int8", "fp8"]), help="KV cache the engine is built for. Default: 16 bit."),
    click.option("--max-batch-size", type=click.IntRange(min=1), help="Most sequences at once. TensorRT-LLM's default: 2048."),
    click.option("--max-input-len", type=click.IntRange(min=1), help="Longest prompt; packed input ignores it."),
    click.option("--max-seq-len", type=click.IntRange(min=2), help="Longest prompt and output. Default: the model's positions."),
    click.option("--max-num-tokens", type=click.IntRange(min=1), help="Most tokens in one step. TensorRT-LLM's default: 8192."),
    click.option("--tp", type=click.IntRange(min=1), help="Tensor parallelism."),
    click.option("--pp", type=click.IntRange(min=1), help="Pipeline parallelism."),
    click.option("--kv-block-tokens", type=click.IntRange(8, 256), help="Tokens of a KV block (tokens_per_block)."),
    click.option("--paged-context-fmha/--no-paged-context-fmha", default=None, help="For KV reuse and chunked prefill."),
    click.option("--plugin", "plugins", multiple=True, metavar="NAME=VALUE", help="A plugin flag of trtllm-build, as gemm_plugin=float16."),
    click.option("--workers", type=click.IntRange(min=1), help="Ranks built at once."),
    click.option("--dummy-weights", is_flag=True, default=None, help="Random weights: an engine to measure speed with."),
    click.option("--route", type=click.Choice(["auto", "llm_api", "trtllm_build"]), help="Default: the LLM API for one GPU."),
    click.option("--smoothquant", type=click.Choice(["modelopt", "plugin"]), help="How int8-sq is made. Default: modelopt."),
    click.option("--calibration-dir", type=click.Path(path_type=Path), help="Directory with train.jsonl; default: trtbench's texts."),
    click.option("--calibration-samples", type=click.IntRange(min=1), help="Texts to calibrate on."),
    click.option("--engine-dir", type=click.Path(path_type=Path), help="Adopt this finished TensorRT-LLM engine after checking it."),
)


def build_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
