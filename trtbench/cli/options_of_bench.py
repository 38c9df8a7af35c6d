"""Options of `trtbench bench` under the names that other tools use, and the examples that `--help` prints (a test runs them)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trtbench.cli.flags.cost_flags import COST_OPTIONS
from trtbench.cli.flags.translation import ManyWords
from trtbench.cli.flags.values import INT32_MAX, Place, Real, Seconds, Text, Whole
from trtbench.cli.options_of_endpoint import ENDPOINT_OPTIONS
from trtbench.cli.options_of_requests import REQUEST_OPTIONS
from trtbench.cli.options_of_tensors import TENSOR_OPTIONS
from trtbench.scenario.parts.choices import MOST_ROUNDS
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.registry import TASKS

BENCH_EXAMPLES = """\b
Examples:
  trtbench bench -u localhost:8001 -m tensorrt_llm --concurrency 1,4,16 --request-count 64
  trtbench bench -u localhost:8001 -m tensorrt_llm --request-rate 2,4 --isl 512 --osl 64:256
  trtbench bench -u localhost:8001 -m tensorrt_llm --request-rate 8 --max-concurrency 16 --request-count 200
  trtbench bench -u localhost:8001 -m tensorrt_llm --goodput ttft:500 tpot:50 --benchmark-duration 60
  trtbench bench -u localhost:8001 -m tensorrt_llm --metrics-url localhost:8002/metrics --random-seed 7
  trtbench bench --endpoint-type completions -u http://localhost:8000 -m llama --concurrency 8 --isl 512 --osl 128

\b
trtbench accepts the flags of perf_analyzer, genai-perf, aiperf, vllm bench serve, trtllm-bench, Locust, wrk and hey
that have the same meaning as its own (docs/coming-from.md).
"""

_BENCH_OPTIONS = (
    *ENDPOINT_OPTIONS,
    click.option(
        "--task",
        type=click.Choice(list(TASKS)),
        default=GENERATE.name,
        show_default=True,
        help="Measure a model that generates text, an encoder (embed, docs/encoder.md), or any model (infer, docs/any-model.md).",
    ),
    click.option(
        "--model-version", type=Whole(1, 10**18 - 1), help="Use this version of the model. By default the server chooses the version."
    ),
    click.option(
        "--metrics-url",
        type=Text(),
        help="Read the server's Prometheus page, as http://HOST:8002/metrics. Without it, the engine's gauges are missing.",
    ),
    click.option(
        "--tokenizer",
        type=Place(),
        help="Make prompts of text with the tokenizer.json in this directory. Without it, prompts are random token ids.",
    ),
    click.option(
        "--engine-dir",
        type=Place(),
        help="Describe the engine in this directory in the report. trtbench does not check that the server serves it.",
    ),
    click.option(
        "--vocab-size", type=Whole(2, INT32_MAX), default=32000, show_default=True, help="Draw random token ids below this number."
    ),
    click.option(
        *("--concurrency", "--max-concurrency"),
        type=Text(),
        help=(
            "Keep this number of users, each with one request in flight, as 8, or 1,4,16 for a stage each. The default is 1 user. "
            "Together with a rate it is the largest number of requests in flight."
        ),
    ),
    click.option(
        "--concurrency-ramp-duration", type=Seconds(), metavar="S", help="Let the users enter one by one over this number of seconds."
    ),
    click.option(
        "--request-rate",
        type=Text(),
        help="Send this number of requests per second, as 8, or 2,4,8 for a stage each; inf sends all requests immediately.",
    ),
    click.option(
        *("--arrival-pattern", "--request-rate-mode"),
        type=click.Choice(["constant", "poisson", "gamma"]),
        help="Draw the gaps between requests in this way. The default is poisson, or gamma if --burstiness is not 1.",
    ),
    click.option(
        *("--burstiness", "--arrival-smoothness"),
        type=Real(),
        default=1.0,
        show_default=True,
        help="Set the shape of gamma gaps: 1 is Poisson, a smaller number is burstier.",
    ),
    click.option(
        "--request-rate-ramp-duration",
        type=Seconds(),
        metavar="S",
        help="Raise the rate from 0 to --request-rate over this number of seconds.",
    ),
    click.option(
        "--ramp-up-start-rps",
        type=Real(),
        help="Start at this number of requests per second and change it evenly to --ramp-up-end-rps, in place of --request-rate.",
    ),
    click.option("--ramp-up-end-rps", type=Real(), help="End at this number of requests per second."),
    click.option(
        "--fixed-schedule",
        is_flag=True,
        help="Replay --input-file as a trace, with its timestamps and lengths (Mooncake, Bailian, Azure or BurstGPT).",
    ),
    click.option(
        "--speedup-ratio",
        type=Real(),
        default=1.0,
        show_default=True,
        help="Divide the gaps of --fixed-schedule by this number: 2 replays the trace in half the time.",
    ),
    *REQUEST_OPTIONS,
    *TENSOR_OPTIONS,
    click.option(
        "--streaming/--no-streaming",
        default=True,
        show_default=True,
        help="Receive each token when it is generated, or one response with all tokens.",
    ),
    click.option(
        "--warmup-request-count",
        type=Whole(),
        default=0,
        show_default=True,
        help="Send this number of requests before each stage, and leave them out of the figures.",
    ),
    click.option("--request-count", "--num-prompts", type=Whole(), help="End a stage after this number of requests."),
    click.option(
        "--benchmark-duration",
        type=Seconds(),
        metavar="S",
        help="End a stage after this number of seconds. The default is 30 if --request-count is not given.",
    ),
    click.option(
        "--request-timeout",
        type=Seconds(),
        metavar="S",
        default=120.0,
        show_default=True,
        help="Cancel a request this number of seconds after its scheduled time.",
    ),
    click.option(
        "--max-consecutive-errors",
        type=Whole(1),
        help="End the load when this number of requests in a row have failed. By default the load continues.",
    ),
    click.option("--transport", type=Text(), default="wire", hidden=True, help="wire is the only transport."),
    click.option(
        "--workers", type=Whole(), help="Send the load from this number of processes. By default trtbench starts as many as it needs."
    ),
    click.option(
        "--streams-per-connection",
        type=Whole(),
        help="Let this number of streams share a connection. The default is 1, and more beyond 4,000 streams per worker.",
    ),
    click.option(
        "--requests-per-stream",
        type=Whole(),
        help="Send this number of requests on each stream. By default a stream ends after 1 MB of requests or 15 s.",
    ),
    click.option(
        "--retries",
        type=Whole(),
        default=0,
        show_default=True,
        help="Send a request that failed before its first token again, up to this number of times.",
    ),
    click.option(
        "--repeats",
        type=Whole(2, MOST_ROUNDS),
        metavar="N",
        help="Measure all levels in N rounds, in shuffled order and with other requests; each figure gets an interval across rounds.",
    ),
    click.option(
        "--random-seed",
        type=Whole(),
        default=1,
        show_default=True,
        help="Draw arrivals, lengths and prompts from this seed: the same seed and flags give the same load.",
    ),
    click.option(
        "--goodput",
        cls=ManyWords,
        multiple=True,
        metavar="NAME:MS ...",
        help="Count a request as good if it keeps these limits, as ttft:500 tpot:50. The names are ttft, itl, tpot and e2e.",
    ),
    click.option(
        "--artifact-dir", type=Place(), default=Path("runs"), show_default=True, help="Write the run directory into this directory."
    ),
    click.option(
        "--eos-id",
        type=Whole(-1, INT32_MAX),
        default=-1,
        show_default=True,
        help="End an output at this token id; with -1 every output has exactly --osl tokens.",
    ),
)


def bench_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed((*_BENCH_OPTIONS, *COST_OPTIONS)):
        command = option(command)
    return command
