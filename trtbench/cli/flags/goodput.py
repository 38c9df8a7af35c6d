"""`--goodput`: limits on latencies as vLLM, aiperf and genai-perf write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trtbench.errors import UserError

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


def limits(given: Sequence[str]) -> dict[str, float]:
    """Milliseconds by the key of `slo`, of every `--goodput`; UserError for what is no limit, or two limits on one latency."""
    found: dict[str, float] = {}
    for name, key, limit_ms in (_limit(word) for text in given for word in _words(text)):
        if key in found:
            raise UserError(f"--goodput: {name} has two limits, {found[key]:g} and {limit_ms:g} ms; give one")
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
        raise UserError(f"--goodput {word[:_SHOWN]}: {name[:_SHOWN]} is none of {', '.join(_KEYS)}{why}")
    found = _LIMIT.fullmatch(word)
    if found is None:
        raise UserError(f"--goodput {word[:_SHOWN]}: {_FORM}")
    return name, key, float(found[2]) * _MS[found[3] or ""]
