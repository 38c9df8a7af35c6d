"""The scenario that the flags of `trtbench bench` describe; `--goodput` is written as in vLLM, aiperf and genai-perf."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from trtbench.cli.flags.cost_flags import cost_of
from trtbench.cli.flags.endpoint_flags import endpoint_of
from trtbench.cli.flags.explained import BENCH_FLAGS, flag_error
from trtbench.cli.flags.header_flags import headers_of
from trtbench.cli.flags.load import stability, stages
from trtbench.cli.flags.tensor_flags import tensors_of, with_input_file
from trtbench.cli.flags.values import whole_number
from trtbench.errors import UserError
from trtbench.scenario.load.measurement import Seeds
from trtbench.scenario.parts.choices import DatasetFormat, PromptLanguage, TraceFormat
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

_KEYS = {
    "ttft": "ttft_ms",
    "time_to_first_token": "ttft_ms",
    "itl": "itl_ms",
    "inter_token_latency": "itl_ms",
    "tpot": "tpot_ms",
    "time_per_output_token": "tpot_ms",
    "e2e": "e2e_latency_ms",
    "e2el": "e2e_latency_ms",
    "e2e_latency": "e2e_latency_ms",
    "request_latency": "e2e_latency_ms",
}
_MS = {"": 1.0, "ms": 1.0, "s": 1000.0, "us": 0.001}
_LIMIT = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)[:=](\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})(ms|us|s)?", re.ASCII)
_FORM = "write NAME:MILLISECONDS, as ttft:500, or with a unit, ttft:0.5s"
_SHOWN = 60


def goodput_limits(given: Sequence[str]) -> dict[str, float]:
    """The limits of all `--goodput` in milliseconds, by the key of `slo`. UserError for a malformed limit, or two limits on one latency."""
    found: dict[str, float] = {}
    for name, key, limit_ms in (_limit(word) for text in given for word in _words(text)):
        if key in found:
            raise UserError(f"--goodput: duplicate limit on {name}, {found[key]:g} and {limit_ms:g} ms; give one")
        found[key] = limit_ms
    return found


def _words(text: str) -> Iterator[str]:
    """NAME:VALUE pairs, with blanks or commas between them and blanks round the colon."""
    words = re.sub(r"\s*([:=])\s*", r"\1", text.replace(",", " ")).split()
    if not words:
        raise UserError(f"--goodput {text!r}: has no limit; {_FORM}, or leave the flag out")
    yield from words


def _limit(word: str) -> tuple[str, str, float]:
    name = re.split("[:=]", word)[0]
    key = _KEYS.get(name.lower().replace("-", "_").removesuffix("_ms"))
    if key is None:
        why = "; throughput is not a latency: a limit of N tokens/s is tpot:1000/N" if "throughput" in name else ""
        raise UserError(f"--goodput {word[:_SHOWN]}: unknown latency {name[:_SHOWN]}; give one of {', '.join(_KEYS)}{why}")
    found = _LIMIT.fullmatch(word)
    if found is None:
        raise UserError(f"--goodput {word[:_SHOWN]}: {_FORM}")
    return name, key, float(found[2]) * _MS[found[3] or ""]


_MOST_DEVIATIONS = 4  # a normal length is truncated there: it leaves out 1 in 30,000
_DEFAULT_ISL = "128"


def bench_scenario(flags: Mapping[str, Any]) -> Scenario:
    """The scenario of the flags. UserError, naming the flag, if they do not describe a load."""
    flags = with_input_file(flags)
    seed, cost = flags["random_seed"], cost_of(gpu_hour_price=flags["gpu_hour_price"], gpu_count=flags["gpu_count"])
    tree = {
        "name": "bench",
        "purpose": "load on a running server",
        "model": flags["model"],
        "endpoint": endpoint_of(flags),
        "task": flags["task"],
        "repeats": flags["repeats"],
        "load": stages(flags),
        "workload": _workload(flags),
        "slo": goodput_limits(flags["goodput"]),
        "cost": cost.model_dump() if cost else {},
        "stop": {
            "timeout_s": flags["request_timeout"],
            "stability": stability(flags),
            "consecutive_errors": flags["max_consecutive_errors"],
        },
        "client": _client(flags),
        "seeds": dict.fromkeys(Seeds.model_fields, seed),
    }
    try:
        return parse_scenario(tree, "bench")
    except ScenarioError as error:
        raise flag_error(error.problems, BENCH_FLAGS) from error


def _workload(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `workload`. Flags that were not given are left out, so that an encoder refuses only what was given."""
    return prompts_of(flags) | {"ignore_eos": flags["eos_id"] < 0, "streaming": flags["streaming"], **tensors_of(flags)}


def prompts_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `workload` that say what prompts are like, and how long prompts and answers are."""
    if flags["input_file"] is not None and (flags["isl"] != _DEFAULT_ISL or flags["isl_stddev"]):
        what = "a trace has its own lengths" if flags["fixed_schedule"] else "its prompts have their own lengths"
        raise UserError(f"--isl {flags['isl']} conflicts with --input-file {flags['input_file']}: {what}; leave --isl out")
    return {
        "input_tokens": tokens_of("--isl", flags["isl"], flags["isl_stddev"]),
        "output_tokens": tokens_of("--osl", flags["osl"], flags["osl_stddev"]),
        "prefix": _prefix(flags["num_prefix_prompts"], flags["prefix_prompt_length"]),
        "dataset": _dataset(flags),
        "languages": flags["prompt_language"] or get_args(PromptLanguage),
    }


def _dataset(flags: Mapping[str, Any]) -> dict[str, Any] | None:
    path, name = flags["input_file"], flags["dataset_format"]
    if name is not None and path is None:
        raise UserError(f"--dataset-format {name}: there is no file; give --input-file FILE, or leave the format out")
    kind = TraceFormat if flags["fixed_schedule"] else DatasetFormat
    if name is not None and name not in get_args(kind):
        what = "a trace, one of" if flags["fixed_schedule"] else "a dataset (a trace is replayed by --fixed-schedule), one of"
        raise UserError(f"--dataset-format {name}: give the format of {what} {', '.join(get_args(kind))}")
    return None if path is None or flags["fixed_schedule"] else {"path": path, "format": name}


def _client(flags: Mapping[str, Any]) -> dict[str, Any]:
    """TLS settings if a flag requests TLS, or gives one of its files or names. The endpoint adds those that its URLs request."""
    names = {"ca": "tls_ca", "certificate": "tls_cert", "key": "tls_key", "server_name": "tls_server_name"}
    tls = {key: str(flags[flag]) for key, flag in names.items() if flags[flag] is not None}
    settings = {key: flags[key] for key in ("transport", "workers", "streams_per_connection", "requests_per_stream", "retries")}
    settings["headers"] = headers_of(flags["header"], flags["header_env"])
    return settings | {"tls": tls if tls or flags["tls"] else None}


def tokens_of(flag: str, text: str, stddev: float = 0.0) -> int | dict[str, Any]:
    """`128`, the mean of a normal law where it has a deviation, or `64:256`."""
    low, separator, high = text.partition(":")
    if not separator and not stddev:
        return whole_number(flag, low)
    if not separator:
        mean = whole_number(flag, low)
        return {"mean": mean, "stddev": stddev, "max": max(math.ceil(mean + _MOST_DEVIATIONS * stddev), 1)}
    if stddev:
        raise UserError(f"{flag}-stddev {stddev:g} goes with a mean, {flag} is {text}: give one number, or leave {flag}-stddev out")
    return {"min": whole_number(flag, low, text), "max": whole_number(flag, high, text)}


def _prefix(groups: int, tokens: int) -> dict[str, int] | None:
    if bool(groups) != bool(tokens):
        raise UserError(f"--num-prefix-prompts {groups} and --prefix-prompt-length {tokens} go together: give both, or neither")
    return {"groups": groups, "tokens": tokens} if groups else None
