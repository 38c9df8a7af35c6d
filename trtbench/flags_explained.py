"""What a scenario's bounds say of flags, in the flags' own names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from trtbench.errors import UserError

_SHOWN = 60

BENCH_FLAGS = {
    "model": "--model",
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
    "load.*.trace": "--input-file",
    "workload.input_tokens.stddev": "--isl-stddev",
    "workload.input_tokens": "--isl",
    "workload.output_tokens.stddev": "--osl-stddev",
    "workload.output_tokens": "--osl",
    "workload.prefix.groups": "--num-prefix-prompts",
    "workload.prefix": "--prefix-prompt-length",
    "workload.dataset": "--input-file",
    "workload.languages": "--prompt-language",
    "slo.ttft_ms": "--goodput ttft",
    "slo.itl_ms": "--goodput itl",
    "slo.tpot_ms": "--goodput tpot",
    "slo.e2e_latency_ms": "--goodput e2e",
    "stop.timeout_s": "--request-timeout",
    "client.workers": "--workers",
    "client.streams_per_connection": "--streams-per-connection",
    "client.retries": "--retries",
    "client.tls.server_name": "--tls-server-name",
    "client.tls": "--tls-cert and --tls-key",
    "seeds": "--random-seed",
}
"""Flag of each key, or of all below it; * is the number of a stage."""


def flag_error(error: ValidationError, flags: Mapping[str, str]) -> UserError:
    """One line a problem, each with its flag, the value and the bound; keys without a flag keep their names."""
    problems = error.errors(include_url=False)
    lines = dict.fromkeys(_line(problem, flags) for problem in problems if not _said_below(problem, problems))
    return UserError("\n".join(lines))


def _line(problem: Any, flags: Mapping[str, str]) -> str:
    value = problem["input"]
    shown = (
        ""
        if isinstance(value, (dict, list, tuple, BaseModel)) or value is None
        else f" {value:g}"
        if isinstance(value, float)
        else f" {str(value)[:_SHOWN]}"
    )
    return f"{_flag(_key(problem['loc']), flags)}{shown}: {problem['msg'].removeprefix('Value error, ')}"


def _key(place: Sequence[int | str]) -> str:
    return ".".join("*" if isinstance(part, int) else part for part in place if not str(part).startswith("<"))  # <kind> of a union


def _flag(key: str, flags: Mapping[str, str]) -> str:
    parts = key.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((flags[name] for name in above if name in flags), key or "the flags")


def _said_below(problem: Any, problems: Sequence[Any]) -> bool:
    """pydantic calls a sequence with a bad item too short as well."""
    place = problem["loc"]
    return problem["type"] == "too_short" and any(o["loc"][: len(place)] == place and len(o["loc"]) > len(place) for o in problems)
