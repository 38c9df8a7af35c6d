"""A trace of real traffic: JSON lines that say when each request came and how long it was.

The fields of Mooncake's public traces are read as they are: `timestamp` (milliseconds), `input_length`, `output_length` (tokens) and
`hash_ids`, one for each block of 512 prompt tokens, the last block partial; equal ids are equal tokens. Other files may give
`timestamp_s` (seconds), and `input_ids`, the prompt itself, in place of its length.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trtbench.clock import NS_PER_S
from trtbench.errors import UserError
from trtbench.load.arrivals import Offsets
from trtbench.load.workload import TokenIds

BLOCK_TOKENS = 512
"""Prompt tokens that a hash id stands for (Qin et al., Mooncake, FAST 2025, and the README of its traces)."""

_NS_PER_MS = 1_000_000
_MOST_NS = 2**62  # their differences fit 64 bits
_MOST_TOKENS = 2**31 - 1  # and the largest token id: 32-bit tensors


class TraceError(UserError):
    """A trace that cannot be replayed; the message names the file, the line, the key and the remedy."""


@dataclass(frozen=True)
class TracedRequest:
    """`time_ns` on the trace's own clock. `hash_ids` is empty where the line has none, `input_ids` None likewise."""

    time_ns: int
    input_tokens: int
    output_tokens: int
    hash_ids: tuple[int, ...] = ()
    input_ids: TokenIds | None = None


def read_trace(path: Path) -> tuple[TracedRequest, ...]:
    """Every line, in order of time, of equal times in that of the file; TraceError when it is no trace."""
    requests = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    requests.append(_read_line(line, f"trace {path}:{number}"))
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"trace {path} cannot be read ({error}): give a file of JSON lines, from the working directory") from error
    if not requests:
        raise TraceError(f"trace {path} has no lines: give one request a line")
    return tuple(sorted(requests, key=lambda request: request.time_ns))


def trace_offsets(trace: Sequence[TracedRequest], speed: float, requests: int | None, duration_s: float | None) -> Offsets:
    """When each is due, the first at once; cut to `requests`, and to `duration_s` of the replay."""
    times_ns = np.array([request.time_ns for request in trace[:requests]], np.int64)
    offsets = np.rint((times_ns - trace[0].time_ns) / speed).astype(np.int64)
    return offsets if duration_s is None else offsets[offsets < duration_s * NS_PER_S]


def _read_line(line: str, where: str) -> TracedRequest:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise TraceError(f"{where}: not JSON ({error}); write one object a line") from error
    if not isinstance(row, dict):
        raise TraceError(f"{where}: {_shown(row)} is no object; write one a line, with timestamp, input_length and output_length")
    output_tokens = _tokens(row, "output_length", where)
    if "input_ids" in row:
        ids = _token_ids(row["input_ids"], where)
        return TracedRequest(_time_ns(row, where), len(ids), output_tokens, input_ids=ids)
    input_tokens = _tokens(row, "input_length", where)
    return TracedRequest(_time_ns(row, where), input_tokens, output_tokens, _hash_ids(row, input_tokens, where))


def _time_ns(row: dict[str, Any], where: str) -> int:
    key, unit_ns = ("timestamp_s", NS_PER_S) if "timestamp_s" in row else ("timestamp", _NS_PER_MS)
    time = row.get(key)
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not abs(time) * unit_ns < _MOST_NS:
        raise TraceError(f"{where}: {key} = {_shown(time)}: give milliseconds as timestamp, or seconds as timestamp_s")
    return round(time * unit_ns)


def _tokens(row: dict[str, Any], key: str, where: str) -> int:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_TOKENS:
        raise TraceError(f"{where}: {key} = {_shown(value)}: give a whole number of tokens from 1 up")
    return value


def _hash_ids(row: dict[str, Any], input_tokens: int, where: str) -> tuple[int, ...]:
    ids = row.get("hash_ids")
    if ids is None:
        return ()
    blocks = math.ceil(input_tokens / BLOCK_TOKENS)
    if not isinstance(ids, list) or not all(isinstance(one, int) for one in ids) or len(ids) != blocks:
        raise TraceError(
            f"{where}: hash_ids = {_shown(ids)}: input_length {input_tokens} makes {blocks} blocks of {BLOCK_TOKENS} tokens; "
            "give a whole number for each, or leave hash_ids out"
        )
    return tuple(ids)


def _token_ids(ids: Any, where: str) -> TokenIds:
    if not isinstance(ids, list) or not ids or not all(isinstance(one, int) and 0 <= one <= _MOST_TOKENS for one in ids):
        raise TraceError(f"{where}: input_ids = {_shown(ids)}: give a list of token ids, whole numbers from 0 up")
    return np.array(ids, np.int32)


def _shown(value: Any) -> str:
    """As JSON, shortened."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
