"""Gaps between token responses, gathered into one array a part of the file at a time: there are a hundred times as many as requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from trtbench.rundir import Ints, Mask, Requests, Tokens

Floats = npt.NDArray[np.float64]
_PART = 1 << 20


def gaps_ns(requests: Requests) -> Ints:
    """Between consecutive token responses of each request: one fewer than there were responses."""
    parts = (tokens.arrivals.gaps().values for tokens in requests.tokens())
    gaps: Ints = gathered(parts, gap_count(requests), np.int64)
    return gaps


def gaps_per_token_ns(requests: Requests) -> Floats:
    """Each gap / the tokens that came at its end, of the gaps with any."""
    parts = (_per_token(tokens) for tokens in requests.tokens())
    per_token: Floats = gathered(parts, gap_count(requests), np.float64)
    return per_token


def gaps_ended(requests: Requests, start_ns: int, end_ns: int) -> tuple[Ints, Ints]:
    """(Ends, lengths) of the gaps that ended at start < time <= end."""
    touching = requests.select((requests.first_token_ns < end_ns) & (requests.last_token_ns > start_ns) | ~requests.in_order)
    found = [_ended(tokens, start_ns, end_ns) for tokens in touching.tokens()]
    ends, gaps = (np.concatenate([part[i] for part in found]) if found else np.empty(0, np.int64) for i in (0, 1))
    return ends, gaps


def gap_count(requests: Requests) -> int:
    return int(np.maximum(requests.responses - 1, 0).sum())


def gathered(parts: Iterable[Any], most: int, dtype: Any) -> Any:
    """The parts in one array, of at most so many values."""
    values, filled = np.empty(most, dtype), 0
    for part in parts:
        values[filled : filled + len(part)] = part
        filled += len(part)
    return values[:filled]


def as_floats(values: Ints) -> Floats:
    """The same numbers in the same memory, which holds no integers from then on."""
    floats = values.view(np.float64)
    for start in range(0, len(values), _PART):
        floats[start : start + _PART] = values[start : start + _PART].astype(np.float64)
    return floats


def later(tokens: Tokens) -> Mask:
    """Of the arrivals, those that end a gap."""
    kept = np.ones(len(tokens.arrivals.values), np.bool_)
    kept[tokens.arrivals.offsets[:-1]] = False
    return kept


def _per_token(tokens: Tokens) -> Floats:
    counts = tokens.counts.values[later(tokens)]
    per_token: Floats = tokens.arrivals.gaps().values[counts > 0] / counts[counts > 0]
    return per_token


def _ended(tokens: Tokens, start_ns: int, end_ns: int) -> tuple[Ints, Ints]:
    ends, gaps = tokens.arrivals.values[later(tokens)], tokens.arrivals.gaps().values
    inside = (ends > start_ns) & (ends <= end_ns)
    return ends[inside], gaps[inside]
