"""From `trtbench bench`'s flags, named as the field names them, to a Scenario."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trtbench.errors import UserError
from trtbench.scenario import Scenario, Seeds, parse_scenario

_DEFAULT_DURATION_S = 30.0
_MOST_DEVIATIONS = 4  # a normal length is truncated there: it leaves out 1 in 30,000
_SLO_NAMES = {
    "ttft": "ttft_ms",
    "time_to_first_token": "ttft_ms",
    "itl": "itl_ms",
    "inter_token_latency": "itl_ms",
    "tpot": "tpot_ms",
    "e2e": "e2e_latency_ms",
    "e2el": "e2e_latency_ms",
    "request_latency": "e2e_latency_ms",
}


def bench_scenario(flags: Mapping[str, Any]) -> Scenario:
    """ScenarioError or UserError, naming the flag, when the flags do not make a load."""
    seed = flags["random_seed"]
    tree = {
        "name": "bench",
        "purpose": "load on a running server",
        "model": flags["model"],
        "task": flags["task"],
        "load": [_stage(flags, level) for level in _levels(flags)],
        "workload": _workload(flags),
        "slo": dict(_limit(text) for group in flags["goodput"] for text in group.split()),
        "stop": {"timeout_s": flags["request_timeout"]},
        "client": _client(flags),
        "seeds": dict.fromkeys(Seeds.model_fields, seed),
    }
    return parse_scenario(tree, "bench")


def _workload(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags' defaults are the scenario's, so that of an encoder it refuses only what was given."""
    return {
        "input_tokens": _tokens("--isl", flags["isl"], flags["isl_stddev"]),
        "output_tokens": _tokens("--osl", flags["osl"], flags["osl_stddev"]),
        "prefix": _prefix(flags["num_prefix_prompts"], flags["prefix_prompt_length"]),
        "dataset": None if flags["fixed_schedule"] else flags["input_file"],
        "ignore_eos": flags["eos_id"] < 0,
        "streaming": flags["streaming"],
        "languages": flags["prompt_language"] or ("en", "zh"),
    }


def _levels(flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The level of each stage: a trace, a rate with its arrivals, or numbers of users."""
    rate, users = _rate(flags), flags["concurrency"]
    kinds = {"--fixed-schedule": flags["fixed_schedule"] or None, _rate_flag(flags): rate, "--concurrency": users}
    given = [flag for flag, value in kinds.items() if value is not None]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} are two kinds of load: give one")
    if flags["fixed_schedule"]:
        return [_trace(flags)]
    if rate is not None:
        return [{"rate": rate} | _arrivals(flags)]
    return [_users(flags, _integer("--concurrency", text)) for text in (users or "1").split(",")]


def _rate_flag(flags: Mapping[str, Any]) -> str:
    return "--request-rate" if flags["request_rate"] is not None else "--ramp-up-end-rps"


def _rate(flags: Mapping[str, Any]) -> float | dict[str, Any] | None:
    """Requests per second: steady, reached over the ramp's duration, or rising through the whole stage."""
    rate, over_s = flags["request_rate"], flags["request_rate_ramp_duration"]
    start, end = flags["ramp_up_start_rps"], flags["ramp_up_end_rps"]
    if (start is None) != (end is None):
        raise UserError("--ramp-up-start-rps and --ramp-up-end-rps go together: give both, in place of --request-rate")
    if start is not None and rate is not None:
        raise UserError(f"--request-rate {rate:g} and --ramp-up-start-rps {start:g}: give a steady rate or a ramp")
    if rate is not None and rate <= 0:
        raise UserError(f"--request-rate {rate:g}: give a rate above 0")
    if over_s is not None and rate is None:
        raise UserError(f"--request-rate-ramp-duration {over_s:g}: give the --request-rate that it reaches")
    if start is None and over_s is None:
        return None if rate is None else float(rate)
    _needs_duration(flags, "--ramp-up-start-rps" if over_s is None else "--request-rate-ramp-duration")
    return {"from": start, "to": end} if over_s is None else {"from": 0, "to": rate, "over_s": over_s}


def _arrivals(flags: Mapping[str, Any]) -> dict[str, Any]:
    """As vLLM has it, a burstiness other than 1 makes the gaps gamma; a pattern that is named must agree."""
    pattern, burstiness = flags["arrival_pattern"], flags["burstiness"]
    if burstiness <= 0:
        raise UserError(f"--burstiness {burstiness:g}: give a number above 0; 1 is Poisson")
    if pattern in ("constant", "poisson") and burstiness != 1:
        raise UserError(f"--burstiness {burstiness:g}: --arrival-pattern {pattern} has none; give gamma, or leave one out")
    if pattern == "gamma" or burstiness != 1:
        return {"mode": "gamma", "burstiness": burstiness}
    return {"mode": pattern or "poisson"}


def _users(flags: Mapping[str, Any], users: int) -> dict[str, Any]:
    over_s = flags["concurrency_ramp_duration"]
    if over_s is None or users < 2:
        return {"mode": "concurrency", "concurrency": users}
    _needs_duration(flags, "--concurrency-ramp-duration")
    return {"mode": "concurrency", "concurrency": {"from": 1, "to": users, "over_s": over_s}}


def _trace(flags: Mapping[str, Any]) -> dict[str, Any]:
    if flags["input_file"] is None:
        raise UserError("--fixed-schedule replays the timestamps of a trace: give it as --input-file TRACE.jsonl")
    return {"mode": "trace", "trace": str(flags["input_file"]), "speed": flags["speedup_ratio"]}


def _needs_duration(flags: Mapping[str, Any], flag: str) -> None:
    if flags["request_count"] is not None and flags["benchmark_duration"] is None:
        raise UserError(f"{flag}: a ramp needs --benchmark-duration; --request-count may stand beside it")


def _stage(flags: Mapping[str, Any], level: dict[str, Any]) -> dict[str, Any]:
    requests, duration_s = flags["request_count"], flags["benchmark_duration"]
    if requests is None and duration_s is None and level["mode"] != "trace":
        duration_s = _DEFAULT_DURATION_S
    return level | {"requests": requests, "duration_s": duration_s, "warmup_requests": flags["warmup_request_count"]}


def _client(flags: Mapping[str, Any]) -> dict[str, Any]:
    """TLS where it is asked for, a file or a name of it is given, or the URL says so."""
    names = {"ca": "tls_ca", "certificate": "tls_cert", "key": "tls_key", "server_name": "tls_server_name"}
    tls = {key: str(flags[flag]) for key, flag in names.items() if flags[flag] is not None}
    if flags["url"].startswith("grpc://") and (tls or flags["tls"]):
        raise UserError(f"--url {flags['url']} is not encrypted, the --tls flags are for grpcs://: give one of them")
    settings = {key: flags[key] for key in ("transport", "workers", "streams_per_connection", "retries")}
    return settings | {"tls": tls if tls or flags["tls"] or flags["url"].startswith("grpcs://") else None}


def bench_address(url: str) -> str:
    """HOST:PORT of a URL that may say grpc:// or grpcs://."""
    scheme, separator, address = url.rpartition("://")
    if separator and scheme not in ("grpc", "grpcs"):
        raise UserError(f"--url {url}: {scheme} is not gRPC; give HOST:PORT of the gRPC endpoint (8001 by default), or grpcs:// for TLS")
    return address.rstrip("/")


def _tokens(flag: str, text: str, stddev: float) -> int | dict[str, Any]:
    """`128`, the mean of a normal law where it has a deviation, or `64:256`."""
    low, separator, high = text.partition(":")
    if not separator and not stddev:
        return _integer(flag, low)
    if not separator:
        return {"mean": (mean := _integer(flag, low)), "stddev": stddev, "max": math.ceil(mean + _MOST_DEVIATIONS * stddev)}
    if stddev:
        raise UserError(f"{flag}-stddev {stddev:g} goes with a mean, {flag} is {text}: give one number, or leave {flag}-stddev out")
    return {"min": _integer(flag, low), "max": _integer(flag, high)}


def _prefix(groups: int, tokens: int) -> dict[str, int] | None:
    if bool(groups) != bool(tokens):
        raise UserError(f"--num-prefix-prompts {groups} and --prefix-prompt-length {tokens} go together: give both, or neither")
    return {"groups": groups, "tokens": tokens} if groups else None


def _integer(flag: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{flag} {text}: not a whole number") from None


def _limit(text: str) -> tuple[str, float]:
    name, _, limit = text.partition(":")
    if name not in _SLO_NAMES:
        raise UserError(f"--goodput {text}: {name} is none of {', '.join(_SLO_NAMES)}")
    try:
        return _SLO_NAMES[name], float(limit)
    except ValueError:
        raise UserError(f"--goodput {text}: write NAME:MILLISECONDS, as ttft:500") from None
