"""From `trtbench bench`'s flags, named as the field names them, to a Scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbench.errors import UserError
from trtbench.scenario import Scenario, parse_scenario

_DEFAULT_DURATION_S = 30.0
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
        "load": [_stage(flags, level) for level in _levels(flags)],
        "workload": {
            "input_tokens": _tokens("--isl", flags["isl"]),
            "output_tokens": _tokens("--osl", flags["osl"]),
            "ignore_eos": flags["eos_id"] < 0,
            "streaming": flags["streaming"],
        },
        "slo": dict(_limit(text) for group in flags["goodput"] for text in group.split()),
        "stop": {"timeout_s": flags["request_timeout"]},
        "seeds": {"arrivals": seed, "lengths": seed, "prompts": seed, "sampling": seed},
    }
    return parse_scenario(tree, "bench")


def _levels(flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The level of each stage: a rate with its arrivals, or numbers of users."""
    rate, users = flags["request_rate"], flags["concurrency"]
    if rate is not None and users is not None:
        raise UserError("--request-rate and --concurrency are two kinds of load: give one")
    if rate is None:
        return [{"mode": "concurrency", "concurrency": _integer("--concurrency", text)} for text in (users or "1").split(",")]
    if rate <= 0:
        raise UserError(f"--request-rate {rate:g}: give a rate above 0")
    burstiness = flags["burstiness"]
    if burstiness <= 0:
        raise UserError(f"--burstiness {burstiness:g}: give a number above 0; 1 is Poisson")
    if burstiness == 1:
        return [{"mode": "poisson", "rate": rate}]
    return [{"mode": "gamma", "rate": rate, "burstiness": burstiness}]


def _stage(flags: Mapping[str, Any], level: dict[str, Any]) -> dict[str, Any]:
    requests, duration_s = flags["request_count"], flags["benchmark_duration"]
    if requests is None and duration_s is None:
        duration_s = _DEFAULT_DURATION_S
    return level | {"requests": requests, "duration_s": duration_s, "warmup_requests": flags["warmup_request_count"]}


def _tokens(flag: str, text: str) -> int | dict[str, int]:
    """`128`, or `64:256`."""
    low, separator, high = text.partition(":")
    if not separator:
        return _integer(flag, low)
    return {"min": _integer(flag, low), "max": _integer(flag, high)}


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
