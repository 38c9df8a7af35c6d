"""The load of `trtbench bench`: users, rates or a trace, from its flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtbench.cli.flags.values import numbers, whole_numbers
from trtbench.errors import UserError
from trtbench.system.foreign_text import shown

_DEFAULT_DURATION_S = 30.0
_WINDOWS, _DEFAULT_INTERVAL_MS, _DEFAULT_PERCENT, _DEFAULT_TRIALS = 3, 5000, 10.0, 10  # of perf_analyzer
_ALL_AT_ONCE = ("inf", "infinity")


def stages(flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A scenario's `load`, one stage for each level."""
    return _named([_stage(flags, level) for level in _levels(flags)])


def _levels(flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The level of each stage: a trace, rates with their arrivals, or numbers of users."""
    rates, users = _rates(flags), flags["concurrency"]
    flag = "--request-rate" if flags["request_rate"] is not None else "--ramp-up-end-rps"
    if flags["fixed_schedule"]:
        for other, value in ((flag, rates), ("--concurrency", users)):
            if value is not None:
                raise UserError(f"--fixed-schedule: conflicts with {other}; give one of them")
        return [_trace(flags)]
    if rates is None:
        return [_users(flags, level) for level in _numbers_of_users(users or "1")]
    if rates == _ALL_AT_ONCE:
        return [_all_at_once(flags, users)]
    bound = {} if users is None else {"max_in_flight": _in_flight(flag, users)}
    return [{"rate": rate} | _arrivals(flags) | bound for rate in rates]


def _refuse_range(flag: str, text: str) -> None:
    """Refuse perf_analyzer's START:END:STEP where it is not valid, because ranges of lengths look alike here."""
    if ":" in text:
        raise UserError(f"{flag} {shown(text)}: not a list of numbers; write 1,2,4, or START:END:STEP with {flag}-range")


def _numbers_of_users(text: str) -> list[int]:
    _refuse_range("--concurrency", text)
    return whole_numbers("--concurrency", text)


def _in_flight(flag: str, users: str) -> int:
    """The upper bound on requests in flight under a rate, as in vLLM and aiperf."""
    levels = _numbers_of_users(users)
    if len(levels) > 1:
        raise UserError(f"--max-concurrency {users}: with {flag} it is the most requests in flight; give one number")
    return levels[0]


def _all_at_once(flags: Mapping[str, Any], users: str | None) -> dict[str, Any]:
    """--request-rate inf: every request is sent as soon as --max-concurrency lets it, which is what users without a pause do."""
    requests = flags["request_count"]
    if users is None and requests is None:
        raise UserError("--request-rate inf sends all requests at once: give --request-count, or --max-concurrency for the most in flight")
    for flag in ("request_rate_ramp_duration", "arrival_pattern"):
        if flags[flag] is not None:
            raise UserError(f"--request-rate inf has no times between requests: leave out --{flag.replace('_', '-')}")
    bound = requests if users is None else _in_flight("--request-rate", users)
    return _users(flags, bound if requests is None else min(bound, requests))


def _rates(flags: Mapping[str, Any]) -> Sequence[Any] | None:
    """Requests per second: steady ones, one reached over the ramp's duration, or one that rises through the whole stage."""
    rate, over_s = flags["request_rate"], flags["request_rate_ramp_duration"]
    start, end = flags["ramp_up_start_rps"], flags["ramp_up_end_rps"]
    if (start is None) != (end is None):
        raise UserError("--ramp-up-start-rps and --ramp-up-end-rps go together: give both, in place of --request-rate")
    if start is not None and rate is not None:
        raise UserError(f"--request-rate {rate} and --ramp-up-start-rps {start:g}: give a steady rate or a ramp")
    if over_s is not None and rate is None:
        raise UserError(f"--request-rate-ramp-duration {over_s:g}: give the --request-rate that it reaches")
    if rate is not None and rate.lower() in _ALL_AT_ONCE:
        return _ALL_AT_ONCE
    _refuse_range("--request-rate", rate or "")
    steady = None if rate is None else numbers("--request-rate", rate)
    for one in steady or ():
        if one <= 0:
            raise UserError(f"--request-rate {one:g}: give a rate above 0")
    if start is None and over_s is None:
        return steady
    if start == end and steady is None:
        raise UserError(f"--ramp-up-start-rps and --ramp-up-end-rps are both {start:g}: give two rates, or --request-rate")
    _check_ramp(flags, "--ramp-up-start-rps" if over_s is None else "--request-rate-ramp-duration", over_s)
    return [{"from": start, "to": end}] if steady is None else [{"from": 0, "to": one, "over_s": over_s} for one in steady]


def _arrivals(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The arrival process of the flags. As in vLLM, a burstiness other than 1 means gamma-distributed gaps; a named pattern must agree."""
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
    _check_ramp(flags, "--concurrency-ramp-duration", over_s)
    return {"mode": "concurrency", "concurrency": {"from": 1, "to": users, "over_s": over_s}}


def _trace(flags: Mapping[str, Any]) -> dict[str, Any]:
    if flags["input_file"] is None:
        raise UserError("--fixed-schedule replays the timestamps of a trace: give it as --input-file TRACE.jsonl")
    return {"mode": "trace", "trace": str(flags["input_file"]), "trace_format": flags["dataset_format"], "speed": flags["speedup_ratio"]}


def _check_ramp(flags: Mapping[str, Any], flag: str, over_s: float | None) -> None:
    duration_s = flags["benchmark_duration"]
    if flags["request_count"] is not None and duration_s is None:
        raise UserError(f"{flag}: a ramp needs --benchmark-duration; --request-count can be added")
    lasts_s = _longest_s(flags) if duration_s is None else duration_s
    if over_s is not None and over_s > lasts_s:
        raise UserError(f"{flag} {over_s:g} is longer than --benchmark-duration {lasts_s:g}: lower it, or raise --benchmark-duration")


def _stage(flags: Mapping[str, Any], level: dict[str, Any]) -> dict[str, Any]:
    requests, duration_s = flags["request_count"], flags["benchmark_duration"]
    if requests is None and duration_s is None and level["mode"] != "trace":
        duration_s = _longest_s(flags)
    users = level.get("concurrency")
    if isinstance(users, int) and requests is not None and requests < users:
        raise UserError(
            f"--request-count {requests} is fewer than --concurrency {users}, so this number is never in flight: "
            f"give at least {users} requests (several for each user show a steady state), or --benchmark-duration instead"
        )
    return level | {"requests": requests, "duration_s": duration_s, "warmup_requests": flags["warmup_request_count"]}


def stability(flags: Mapping[str, Any]) -> dict[str, float] | None:
    """`stop.stability` by perf_analyzer's flags; None without them, and with --request-count, which perf_analyzer puts above them.

    Its last three windows are stable if the largest figure is at most the percentage above the smallest, so each is within half of that of
    their mean.
    """
    percent = flags["stability_percentage"]
    if not _has_windows(flags) or flags["request_count"] is not None:
        return None
    ratio = (_DEFAULT_PERCENT if percent is None else percent) / 200
    return {"ratio": ratio, "windows": _WINDOWS, "window_s": _window_s(flags)}


def _has_windows(flags: Mapping[str, Any]) -> bool:
    return any(flags[name] is not None for name in ("measurement_interval", "stability_percentage", "max_trials"))


def _window_s(flags: Mapping[str, Any]) -> float:
    interval_ms = flags["measurement_interval"]
    return float(_DEFAULT_INTERVAL_MS if interval_ms is None else interval_ms) / 1000


def _longest_s(flags: Mapping[str, Any]) -> float:
    """The length of a stage that no flag bounds: all windows, or the default."""
    return (flags["max_trials"] or _DEFAULT_TRIALS) * _window_s(flags) if _has_windows(flags) else _DEFAULT_DURATION_S


def _named(load: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A level that is given again gets a name of its own, c4-2 after c4: the same load with other prompts."""
    seen: list[dict[str, Any]] = []
    named = []
    for stage in load:
        again = seen.count(stage)
        seen.append(stage)
        named.append(stage | {"name": f"{_label(stage)}-{again + 1}"} if again else stage)
    return named


def _label(stage: Mapping[str, Any]) -> str:
    level = stage.get("rate") if stage["mode"] != "concurrency" else stage["concurrency"]
    shown = f"{level['from']:g}-{level['to']:g}" if isinstance(level, dict) else f"{level:g}"
    bound = f"-max{stage['max_in_flight']}" if "max_in_flight" in stage else ""
    return f"c{shown}" if stage["mode"] == "concurrency" else f"{stage['mode']}-{shown}{bound}"
