"""The messages of a scenario's bounds in the names of flags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pydantic import BaseModel

from trtbench.errors import UserError
from trtbench.scenario.parts.part import Problem

_SHOWN = 60
_KEY = re.compile(r"(?:--[\w-]+|//) \([^()]*\)|\b(?:load|workload|slo|stop|cost|client|seeds|endpoint)(?:\.\w+)+")
"""A key, or a flag with its key in brackets, which stays as it is."""

BENCH_FLAGS = {
    "model": "--model",
    "task": "--task",
    "endpoint.type": "--endpoint-type",
    "endpoint.urls": "--url",
    "endpoint.model_version": "--model-version",
    "endpoint.api_key_env": "--api-key-env",
    "endpoint.extra_inputs": "--extra-input",
    "endpoint.system_prompt": "--system-prompt",
    "endpoint.tokenizer": "--tokenizer",
    "endpoint.vocab_size": "--vocab-size",
    "endpoint.eos_id": "--eos-id",
    "endpoint.metrics_url": "--metrics-url",
    "endpoint.engine_dir": "--engine-dir",
    "load.*.concurrency.over_s": "--concurrency-ramp-duration",
    "load.*.concurrency": "--concurrency",
    "load.*.max_in_flight": "--max-concurrency",
    "load.*.rate.over_s": "--request-rate-ramp-duration",
    "load.*.rate.from": "--ramp-up-start-rps",
    "load.*.rate": "--request-rate",
    "load.*.burstiness": "--burstiness",
    "load.*.requests": "--request-count",
    "load.*.duration_s": "--benchmark-duration",
    "load.*.warmup_requests": "--warmup-request-count",
    "load.*.speed": "--speedup-ratio",
    "load.*.trace_format": "--dataset-format",
    "load.*.trace": "--input-file",
    "workload.input_tokens.stddev": "--isl-stddev",
    "workload.input_tokens": "--isl",
    "workload.output_tokens.stddev": "--osl-stddev",
    "workload.output_tokens": "--osl",
    "workload.prefix.groups": "--num-prefix-prompts",
    "workload.prefix": "--prefix-prompt-length",
    "workload.dataset.format": "--dataset-format",
    "workload.dataset": "--input-file",
    "workload.languages": "--prompt-language",
    "workload.tensors.data": "--input-data",
    "workload.tensors.shapes": "--shape",
    "workload.tensors.batch_size": "--batch-size",
    "workload.tensors.largest_integer": "--integer-max",
    "workload.tensors.string_bytes": "--string-length",
    "workload.tensors.layout": "--layout",
    "stop.stability.window_s": "--measurement-interval",
    "stop.stability.ratio": "--stability-percentage",
    "workload.sessions": "--sequence-length",
    "slo.ttft_ms": "--goodput ttft",
    "slo.itl_ms": "--goodput itl",
    "slo.tpot_ms": "--goodput tpot",
    "slo.e2e_latency_ms": "--goodput e2e",
    "cost.gpu_hour_price": "--gpu-hour-price",
    "cost.gpus": "--gpu-count",
    "stop.timeout_s": "--request-timeout",
    "stop.consecutive_errors": "--max-consecutive-errors",
    "client.transport": "--transport",
    "client.workers": "--workers",
    "client.streams_per_connection": "--streams-per-connection",
    "client.requests_per_stream": "--requests-per-stream",
    "client.retries": "--retries",
    "client.headers": "--header",
    "client.tls.ca": "--tls-ca",
    "client.tls.certificate": "--tls-cert",
    "client.tls.key": "--tls-key",
    "client.tls.server_name": "--tls-server-name",
    "client.tls": "--tls",
    "repeats": "--repeats",
    "seeds": "--random-seed",
}
"""Flag of each key, or of all below it; * is the number of a stage."""


_KEYS = {flag: key for key, flag in BENCH_FLAGS.items() if "*" not in key} | {
    "--input-file": "workload.dataset",
    "--no-streaming": "workload.streaming: false",
    "--streaming": "workload.streaming",
    "--header-env": "client.headers",
}
_FLAG_WORDS = re.compile(r"--[a-z][a-z-]*(?: \(([a-z_]+\.[a-z_.]+(?:, [a-z_.]+)*)\))?")


@contextmanager
def named_by_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """A UserError inside names flags in place of keys."""
    try:
        yield
    except UserError as error:
        raise UserError(in_flags(str(error), flags)) from error


@contextmanager
def named_by_keys() -> Iterator[None]:
    """A UserError inside names the keys of a scenario in place of flags of `trtbench bench`."""
    try:
        yield
    except UserError as error:
        if (message := in_keys(str(error))) == str(error):
            raise
        raise UserError(message) from error


def flag_error(problems: Sequence[Problem], flags: Mapping[str, str]) -> UserError:
    """The error of a scenario made from flags: a line for each problem, with its flag, the value and the bound.

    A key without a flag keeps its name.
    """
    return UserError("\n".join(dict.fromkeys(_line(problem, flags) for problem in problems)))


def in_flags(message: str, flags: Mapping[str, str]) -> str:
    """`message` with flags in place of the keys that it names."""
    return _KEY.sub(lambda found: found[0] if found[0].endswith(")") else _flag(re.sub(r"\d+", "*", found[0]), flags), message)


def in_keys(message: str) -> str:
    """`message` with keys of a scenario in place of the flags of `trtbench bench` that it names."""

    def key(found: re.Match[str]) -> str:
        flag = found[0].partition(" ")[0]
        return (found[1] or _KEYS[flag]) if flag in _KEYS else found[0]

    return _FLAG_WORDS.sub(key, message)


def _line(problem: Problem, flags: Mapping[str, str]) -> str:
    value = problem.value
    shown = "" if isinstance(value, (dict, list, tuple, BaseModel)) or value is None else f" {_shown(value)}"
    key = ".".join("*" if isinstance(part, int) else part for part in problem.key)
    if not key:
        return in_flags(problem.message, flags)
    return f"{_flag(key, flags)}{shown}: {problem.message}"


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)[:_SHOWN]


def _flag(key: str, flags: Mapping[str, str]) -> str:
    parts = key.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((flags[name] for name in above if name in flags), key or "the flags")
