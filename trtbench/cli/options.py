"""The flags of `trtbench bench` and `trtbench build`, what each defaults to, and the examples that `--help` shows.

The flags of `bench` have the field's names; those of `build` are keys of a spec's `build:`. A test runs each example with `--dry-run`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trtbench.cli.flags.translation import ManyWords
from trtbench.cli.flags.values import INT32_MAX, Place, Real, Seconds, Text, Whole
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.registry import TASKS

BENCH_EXAMPLES = """\b
Examples:
  trtbench bench -u localhost:8001 -m tensorrt_llm --concurrency 1,4,16 --request-count 64
  trtbench bench -u localhost:8001 -m tensorrt_llm --request-rate 2,4 --isl 512 --osl 64:256
  trtbench bench -u localhost:8001 -m tensorrt_llm --request-rate 8 --max-concurrency 16 --request-count 200
  trtbench bench -u localhost:8001 -m tensorrt_llm --goodput ttft:500 tpot:50 --benchmark-duration 60
  trtbench bench -u localhost:8001 -m tensorrt_llm --metrics-url localhost:8002/metrics --random-seed 7

\b
Flags of perf_analyzer, genai-perf, aiperf, vllm bench serve, trtllm-bench, Locust, wrk and hey
are understood where they mean the same: docs/coming-from.md.
"""

RUN_EXAMPLES = """\b
Examples:
  trtbench serve-and-bench quickstart
  trtbench serve-and-bench quickstart --set load.0.requests=20 --set engines=[int8]
"""

BUILD_EXAMPLES = """\b
Examples:
  trtbench build smollm2-135m --dtype int8
"""


_BENCH_OPTIONS = (
    click.option("--url", required=True, type=Text(), metavar="HOST:PORT", help="The server's gRPC endpoint; grpcs://HOST:PORT for TLS."),
    click.option(
        "--model", required=True, type=Text(), help="A model with TensorRT-LLM's tensor names, streaming (decoupled); or an encoder."
    ),
    click.option("--task", type=click.Choice(list(TASKS)), default=GENERATE.name, help="embed: an encoder (docs/encoder.md)."),
    click.option("--model-version", type=Text(), help="Default: the server's choice."),
    click.option(
        "--metrics-url",
        type=Text(),
        help="The server's Prometheus page, as http://HOST:8002/metrics; without it engine gauges are missing.",
    ),
    click.option("--tokenizer", type=Place(), help="Directory with tokenizer.json, for text; else random ids."),
    click.option("--engine-dir", type=Place(), help="The engine it serves, of TensorRT-LLM or trtbench, for the report."),
    click.option("--vocab-size", type=Whole(2, INT32_MAX), default=32000, show_default=True, help="Random ids are below this."),
    click.option(
        *("--concurrency", "--max-concurrency"),
        type=Text(),
        help="Users, as 8 or 1,4,16 (a stage each). Default 1 without a rate; with one, the most requests in flight.",
    ),
    click.option("--concurrency-ramp-duration", type=Seconds(), metavar="S", help="Users enter one by one over this number of seconds."),
    click.option("--request-rate", type=Text(), help="Requests per second, as 8 or 2,4,8 (a stage each); inf: all at once."),
    click.option(
        *("--arrival-pattern", "--request-rate-mode"),
        type=click.Choice(["constant", "poisson", "gamma"]),
        help="Gaps between requests. Default: by --burstiness.",
    ),
    click.option(
        *("--burstiness", "--arrival-smoothness"),
        type=Real(),
        default=1.0,
        show_default=True,
        help="Shape of gamma gaps: 1 Poisson, below burstier.",
    ),
    click.option("--request-rate-ramp-duration", type=Seconds(), metavar="S", help="From 0 to --request-rate over this number of seconds."),
    click.option(
        "--ramp-up-start-rps", type=Real(), help="With --ramp-up-end-rps in place of --request-rate: rises through the whole run."
    ),
    click.option("--ramp-up-end-rps", type=Real(), help="Requests per second at the end."),
    click.option(
        "--fixed-schedule", is_flag=True, help="Replay --input-file as a trace: its timestamps and lengths (Mooncake's JSON lines)."
    ),
    click.option("--speedup-ratio", type=Real(), default=1.0, show_default=True, help="Of --fixed-schedule: 2 replays in half the time."),
    click.option("--prompt-language", type=click.Choice(["en", "zh"]), multiple=True, help="Of --tokenizer's text. Default: both."),
    click.option(
        "--isl",
        "--synthetic-input-tokens-mean",
        default="128",
        show_default=True,
        type=Text(),
        help="Prompt tokens, as 128 or 64:256 (uniform).",
    ),
    click.option("--isl-stddev", "--synthetic-input-tokens-stddev", type=Real(0, INT32_MAX), default=0.0, help="Makes --isl normal."),
    click.option(
        "--osl", "--output-tokens-mean", default="32", show_default=True, type=Text(), help="Output tokens, as 32 or 16:64 (uniform)."
    ),
    click.option("--osl-stddev", "--output-tokens-stddev", type=Real(0, INT32_MAX), default=0.0, help="Makes --osl normal."),
    click.option("--num-prefix-prompts", type=Whole(), default=0, help="Shared prefixes, one of them before each prompt."),
    click.option("--prefix-prompt-length", type=Whole(), default=0, help="Tokens of each shared prefix, before --isl."),
    click.option("--input-file", type=Place(), help="ShareGPT JSON, or JSON lines of prompts or input_ids, for --isl."),
    click.option("--streaming/--no-streaming", default=True, show_default=True, help="Tokens as they come, or one response."),
    click.option("--warmup-request-count", type=Whole(), default=0, show_default=True),
    click.option("--request-count", "--num-prompts", type=Whole(), help="Requests a stage."),
    click.option("--benchmark-duration", type=Seconds(), help="Seconds a stage. Default with no count: 30."),
    click.option("--request-timeout", type=Seconds(), default=120.0, show_default=True, help="Seconds, from due."),
    click.option("--transport", type=Text(), default="wire", hidden=True, help="wire is the only one."),
    click.option("--workers", type=Whole(), help="Processes that send. Default: what the load needs."),
    click.option("--streams-per-connection", type=Whole(), help="Default: 1, more beyond 4,000 streams a worker."),
    click.option("--requests-per-stream", type=Whole(), help="1: a stream each. Default: up to 1 MB of requests, 15 s."),
    click.option("--retries", type=Whole(), default=0, show_default=True, help="Of a request that failed before its first token."),
    click.option("--tls", is_flag=True, help="Encrypt; also by grpcs:// and by any of the four below. Files are PEM."),
    click.option("--tls-ca", type=Place(), help="Certificates to trust. Default: the system's."),
    click.option("--tls-cert", type=Place(), help="The client's own certificate (mutual TLS)."),
    click.option("--tls-key", type=Place(), help="Its private key."),
    click.option("--tls-server-name", type=Text(), help="Name in the server's certificate. Default: the host of --url."),
    click.option(
        "--header",
        multiple=True,
        type=Text(),
        metavar="NAME:VALUE",
        help="gRPC metadata of every call; may be repeated. No file of the run holds the value.",
    ),
    click.option(
        "--header-env", type=Text(), multiple=True, metavar="NAME:VARIABLE", help="The same with an environment variable's value."
    ),
    click.option("--random-seed", type=Whole(), default=1, show_default=True),
    click.option(
        "--goodput",
        cls=ManyWords,
        multiple=True,
        metavar="NAME:MS ...",
        help="Latencies that a good request keeps, as --goodput ttft:500 tpot:50. Names: ttft, itl, tpot, e2e.",
    ),
    click.option("--artifact-dir", type=Place(), default=Path("runs"), show_default=True, help="Where run directories go."),
    click.option(
        "--eos-id",
        type=Whole(-1, INT32_MAX),
        default=-1,
        show_default=True,
        help="Token that ends an output; -1: always generate --osl tokens.",
    ),
)


def bench_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_BENCH_OPTIONS):
        command = option(command)
    return command


_BUILD_OPTIONS = (
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
    for option in reversed(_BUILD_OPTIONS):
        command = option(command)
    return command
