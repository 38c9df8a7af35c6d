"""The scenario that the flags of `trtbench bench` describe; `--goodput` is written as in vLLM, aiperf and genai-perf."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args
from urllib.parse import urlsplit

from trtbench.cli.flags.endpoint_flags import key_header
from trtbench.cli.flags.explained import BENCH_FLAGS, flag_error
from trtbench.cli.flags.header_flags import headers_of
from trtbench.cli.flags.load import stability, stages
from trtbench.cli.flags.tensor_flags import tensors_of, with_input_file
from trtbench.cli.flags.values import whole_number
from trtbench.errors import UserError
from trtbench.scenario.parts.choices import DatasetFormat, PromptLanguage, TraceFormat
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario, Seeds
from trtbench.system.foreign_text import shown
from trtbench.tasks.registry import TASKS

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
_METRICS_PORT, _METRICS_PATH = 8002, "/metrics"  # Triton's defaults
_LATEST_VERSION = 2**63 - 1

_DEFAULT_ISL = "128"


def bench_scenario(flags: Mapping[str, Any]) -> Scenario:
    """The scenario of the flags. UserError, naming the flag, if they do not describe a load."""
    flags = with_input_file(flags)
    seed = flags["random_seed"]
    tree = {
        "name": "bench",
        "purpose": "load on a running server",
        "model": flags["model"],
        "task": flags["task"],
        "load": stages(flags),
        "workload": _workload(flags),
        "slo": goodput_limits(flags["goodput"]),
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
        "input_tokens": _tokens("--isl", flags["isl"], flags["isl_stddev"]),
        "output_tokens": _tokens("--osl", flags["osl"], flags["osl_stddev"]),
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
    """TLS settings if a flag requests TLS, gives one of its files or names, or the URL begins with grpcs://."""
    names = {"ca": "tls_ca", "certificate": "tls_cert", "key": "tls_key", "server_name": "tls_server_name"}
    tls = {key: str(flags[flag]) for key, flag in names.items() if flags[flag] is not None}
    schemes = {url.partition("://")[0] if "://" in url else "" for url in flags["url"]}
    if len(schemes) > 1:
        raise UserError(f"--url {' and '.join(flags['url'][:2])}: all servers must be addressed in one way; begin all in the same way")
    plain = schemes & {"grpc", "http"}
    if plain and (tls or flags["tls"]):
        raise UserError(f"--url {flags['url'][0]} is not encrypted, the --tls flags are for grpcs:// and https://: give one of them")
    settings = {key: flags[key] for key in ("transport", "workers", "streams_per_connection", "requests_per_stream", "retries")}
    settings["headers"] = _headers(flags)
    return settings | {"tls": tls if tls or flags["tls"] or schemes & {"grpcs", "https"} else None}


def _headers(flags: Mapping[str, Any]) -> dict[str, Any]:
    headers, key = headers_of(flags["header"], flags["header_env"]), key_header(flags["api_key_env"], flags["api_key_file"])
    if key.keys() & headers.keys():
        raise UserError("--header authorization conflicts with the key of --api-key-env or --api-key-file: give one of them")
    return headers | key


def metrics_address(url: str | None) -> str | None:
    """http://HOST:PORT/PATH of a metrics page that may be written as perf_analyzer writes it, HOST:PORT/metrics."""
    if url is None:
        return None
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        port = parts.port or _METRICS_PORT
    except ValueError as error:
        raise UserError(f"--metrics-url {url}: {error}; write http://HOST:{_METRICS_PORT}{_METRICS_PATH}") from None
    if parts.scheme != "http":
        raise UserError(f"--metrics-url {url}: Triton serves this page over plain HTTP; write http://HOST:{_METRICS_PORT}{_METRICS_PATH}")
    if parts.username is not None:
        raise UserError("--metrics-url: a user name and a password cannot be sent with it; leave them out")
    if not parts.hostname or not whole.isascii() or not whole.isprintable() or " " in whole:
        raise UserError(f"--metrics-url {url}: has no host; write http://HOST:{_METRICS_PORT}{_METRICS_PATH}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    query = f"?{parts.query}" if parts.query else ""
    return f"http://{host}:{port}{parts.path if parts.path not in ('', '/') else _METRICS_PATH}{query}"


def model_version(text: str | None) -> str:
    """The version of the model's directory in digits; "" for the server's choice."""
    if text is None:
        return ""
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and 0 < int(text) <= _LATEST_VERSION):
        raise UserError(f"--model-version {shown(text, 60)}: give a number, as 3; left out, the server serves the version that it chooses")
    return text


def check_positions(scenario: Scenario, positions: int) -> None:
    """UserError when the longest request that the flags draw is over the `positions` of the engine that --engine-dir names."""
    workload = scenario.workload
    if not TASKS[scenario.task].draws_output_tokens or workload.dataset or any(stage.trace for stage in scenario.load):
        return
    if (longest := workload.longest_request_tokens) > positions:
        raise UserError(
            f"--isl {workload.input_tokens.max} and --osl {workload.output_tokens.max} make requests of {longest} tokens, "
            f"the engine of --engine-dir has {positions} positions: lower one of them"
        )


def _tokens(flag: str, text: str, stddev: float) -> int | dict[str, Any]:
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
