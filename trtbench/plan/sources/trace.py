"""A trace of real traffic: when each request arrived, and how long it is.

Where a trace has `hash_ids`, one for each block of prompt tokens (the last block may be partial or omitted), equal ids are equal tokens.
Blocks have 512 tokens in Mooncake's traces and 16 in Alibaba's Bailian traces; the size of a block is found from the lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trtbench.errors import UserError
from trtbench.plan.arrivals import Offsets
from trtbench.plan.sources.left_out import LeftOut
from trtbench.plan.sources.reader import BLOCK_TOKENS, TracedRequest
from trtbench.plan.sources.readers import check_use, read_requests, used
from trtbench.plan.sources.trace_formats import TRACE_FORMATS
from trtbench.scenario.parts.bounds import MOST_DAYS
from trtbench.system.clock import NS_PER_S
from trtbench.system.input_file import InputFileError

_BLOCK_SIZES = (BLOCK_TOKENS, *(2**power for power in (4, 5, 6, 7, 8, 10, 3, 11, 12, 2, 1, 0)))
_LEAST_FITTING_RATIO = 0.9  # the share of rows with hash ids that a block size must fit if it is not given


class TraceError(UserError):
    """A trace that cannot be replayed; the message names the file, the line, the key and the remedy."""


def read_trace(path: Path, block_tokens: int | None = None, name: str | None = None) -> tuple[TracedRequest, ...]:
    """Every request in the order of time, and at equal times in the order of the file; TraceError if the file is not a trace."""
    return load_trace(path, block_tokens, name)[0]


def load_trace(path: Path, block_tokens: int | None = None, name: str | None = None) -> tuple[tuple[TracedRequest, ...], LeftOut]:
    """The requests, and the rows that are left out: those without a time or tokens, and those whose hash ids do not fit the block size.

    `block_tokens` is the size of a block, None finds the size that fits the lengths; `name` is the format, None finds it by the rows.
    """
    left_out, requests, places = LeftOut(str(path)), [], []
    try:
        check_use(name, TRACE_FORMATS, "trace")
        for row in read_requests(path, name, TRACE_FORMATS, left_out):
            if request := used(row, row.reader.request, left_out):
                requests.append(request)
                places.append(row.where)
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
    """Due times of the requests; the first is due at once. Bounded by `requests` and by `duration_s` of the replay; TraceError if it would
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
