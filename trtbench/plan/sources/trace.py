"""A trace of real traffic: JSON lines with the arrival time and the length of each request.

The fields of Mooncake's public traces are read as they are: `timestamp` (milliseconds), `input_length`, `output_length` (tokens) and
`hash_ids`, one for each block of prompt tokens, where the last block may be partial or omitted; equal ids are equal tokens. Blocks have
512 tokens there and 16 in Alibaba's Bailian traces, whose timestamps are seconds; the size of a block is found from the lengths. Other
files may have `timestamp_s` (seconds), and `input_ids`, the prompt itself, in place of its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trtbench.errors import UserError
from trtbench.plan.arrivals import Offsets
from trtbench.plan.sources.left_out import LeftOut
from trtbench.plan.sources.prompt_source import TokenIds
from trtbench.scenario.parts.bounds import INT32, MOST_DAYS, MOST_TOKENS
from trtbench.system.clock import NS_PER_S
from trtbench.system.input_file import InputFileError, read_rows, shown

BLOCK_TOKENS = 512
"""The prompt tokens of a hash id, if the lengths do not determine them (Qin et al., Mooncake, FAST 2025)."""
_BLOCK_SIZES = (BLOCK_TOKENS, *(2**power for power in (4, 5, 6, 7, 8, 10, 3, 11, 12, 2, 1, 0)))
_LEAST_FITTING_RATIO = 0.9  # the share of rows with hash ids that a block size must fit if it is not given

_NS_PER_MS = 1_000_000
_MOST_NS = 2**62  # their differences fit 64 bits
_BAILIAN = "parent_chat_id"  # a key that only Alibaba's traces have


class TraceError(UserError):
    """A trace that cannot be replayed; the message names the file, the line, the key and the remedy."""


@dataclass(frozen=True)
class TracedRequest:
    """A request of a trace. `time_ns` is on the trace's own clock. `hash_ids` is empty and `input_ids` is None if the line has none.

    A hash id represents `block_tokens`; tokens after the last id belong to this request only.
    """

    time_ns: int
    input_tokens: int
    output_tokens: int
    hash_ids: tuple[int, ...] = ()
    input_ids: TokenIds | None = None
    block_tokens: int = BLOCK_TOKENS


def read_trace(path: Path, block_tokens: int | None = None) -> tuple[TracedRequest, ...]:
    """Every request in the order of time, and at equal times in the order of the file; TraceError if the file is not a trace."""
    return load_trace(path, block_tokens)[0]


def load_trace(path: Path, block_tokens: int | None = None) -> tuple[tuple[TracedRequest, ...], LeftOut]:
    """The requests, and the rows that are left out: those without tokens, and those whose hash ids do not fit the block size.

    `block_tokens` is the size of a block; None finds the size that fits the lengths.
    """
    left_out, requests, places = LeftOut(str(path)), [], []
    try:
        for where, row in read_rows(path):
            left_out.rows += 1
            if empty := [key for key in ("input_length", "output_length") if isinstance(row, dict) and _is_zero(row.get(key))]:
                left_out.add(f"{empty[0]} is 0", where)
                continue
            requests.append(_request(row, f"trace {where}"))
            places.append(where)
    except InputFileError as error:
        raise TraceError(f"trace {error}") from error
    size = block_tokens or _block_tokens(requests, f"trace {path}")
    fitting = []
    for request, where in zip(requests, places, strict=True):
        if request.hash_ids and not _fits(request, size):
            left_out.add(f"hash_ids do not fit input_length in blocks of {size} tokens", where)
        else:
            fitting.append(replace(request, block_tokens=size) if request.hash_ids else request)
    if not fitting:
        why = f": {left_out.text}" if left_out.count else ": give one request a line"
        raise TraceError(f"trace {path} has no lines that can be replayed{why}")
    return tuple(sorted(fitting, key=lambda request: request.time_ns)), left_out


def trace_offsets(trace: Sequence[TracedRequest], speed: float, requests: int | None, duration_s: float | None) -> Offsets:
    """When each request is due; the first is due at once. Bounded by `requests` and by `duration_s` of the replay; TraceError if it would
    take too long."""
    times_ns = np.array([request.time_ns for request in trace[:requests]], np.int64)
    offsets = np.rint((times_ns - trace[0].time_ns) / speed)
    if duration_s is not None:
        offsets = offsets[offsets < duration_s * NS_PER_S]
    if len(offsets) and (days := offsets[-1] / NS_PER_S / 86_400) > MOST_DAYS:
        raise TraceError(
            f"load: the trace takes {days:,.1f} days at speed {speed:g}; the upper bound is {MOST_DAYS} days: raise speed, or cut it with "
            "requests or duration_s"
        )
    return offsets.astype(np.int64)


def _request(row: Any, where: str) -> TracedRequest:
    if not isinstance(row, dict):
        raise TraceError(f"{where}: {shown(row)} is not an object; write one a line, with timestamp, input_length and output_length")
    output_tokens = _tokens(row, "output_length", where)
    if "input_ids" in row:
        ids = _token_ids(row["input_ids"], where)
        return TracedRequest(_time_ns(row, where), len(ids), output_tokens, input_ids=ids)
    input_tokens = _tokens(row, "input_length", where)
    return TracedRequest(_time_ns(row, where), input_tokens, output_tokens, _hash_ids(row, where))


def _block_tokens(requests: Iterable[TracedRequest], where: str) -> int:
    """The block size that fits the lengths and the numbers of hash ids; TraceError if none does."""
    hashed = [request for request in requests if request.hash_ids]
    fitting = {size: sum(_fits(request, size) for request in hashed) for size in _BLOCK_SIZES}
    best = max(fitting, key=lambda size: fitting[size])
    if fitting[best] < _LEAST_FITTING_RATIO * len(hashed):
        one = next(request for request in hashed if not _fits(request, best))
        raise TraceError(
            f"{where}: hash_ids fit no block size: a request of input_length {one.input_tokens} has {len(one.hash_ids)} ids, {best} tokens "
            f"a block fit {fitting[best]} of {len(hashed)} requests: set the stage's trace_block_tokens, or remove hash_ids"
        )
    return best


def _fits(request: TracedRequest, block_tokens: int) -> bool:
    """Whether a request has an id for each block; a partial last block may have one or not."""
    return len(request.hash_ids) in (request.input_tokens // block_tokens, -(-request.input_tokens // block_tokens))


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0


def _time_ns(row: dict[str, Any], where: str) -> int:
    key = "timestamp_s" if "timestamp_s" in row else "timestamp"
    unit_ns = NS_PER_S if key == "timestamp_s" or _BAILIAN in row else _NS_PER_MS
    time = row.get(key)
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not abs(time) * unit_ns < _MOST_NS:
        raise TraceError(f"{where}: {key} = {shown(time)}: give milliseconds as timestamp, or seconds as timestamp_s")
    return round(time * unit_ns)


def _tokens(row: dict[str, Any], key: str, where: str) -> int:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_TOKENS:
        raise TraceError(f"{where}: {key} = {shown(value)}: give a whole number of tokens from 1 to {MOST_TOKENS:,}")
    return value


def _hash_ids(row: dict[str, Any], where: str) -> tuple[int, ...]:
    ids = row.get("hash_ids")
    if ids is None:
        return ()
    if not isinstance(ids, list) or not all(type(one) is int for one in ids):
        raise TraceError(f"{where}: hash_ids = {shown(ids)}: give a list of whole numbers, one for each block, or leave hash_ids out")
    return tuple(ids)


def _token_ids(ids: Any, where: str) -> TokenIds:
    if not isinstance(ids, list) or not ids or not all(isinstance(one, int) and 0 <= one <= INT32 for one in ids):
        raise TraceError(f"{where}: input_ids = {shown(ids)}: give a list of token ids, whole numbers from 0 up")
    return np.array(ids, np.int32)
