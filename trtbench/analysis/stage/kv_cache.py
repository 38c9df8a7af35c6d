"""Use of the paged KV cache, and the bytes that a token takes in it, theoretical and measured (metrics.md)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from trtbench.analysis.stats.window import inside
from trtbench.rundir.ragged import Ints, Mask
from trtbench.rundir.requests import MISSING, Requests
from trtbench.rundir.samples import Samples

NEAR_FULL_RATIO = 0.9
LEAST_READINGS = 5
"""The least number of readings with resident requests and no request in prefill."""


@dataclass(frozen=True, slots=True)
class KvCache:
    """The KV cache during one stage. Bytes per token are None without the facts of the model, or with fewer than LEAST_READINGS readings
    to measure by.
    """

    blocks_max: int
    block_tokens: int | None
    used_ratio_peak: float
    used_ratio_mean: float
    near_full_ratio: float  # readings with over 90 % used
    bytes_per_token_theory: int | None
    bytes_per_token_measured: float | None
    fragmentation_ratio: float | None  # 1 - theory / measured; None with prefix caching, where tokens share blocks


class Residency:
    """The number of tokens whose keys and values the engine holds at an instant, computed from the instants of the requests.

    From its first token until it is done, a request is resident with its prompt and every token that has arrived. Before its first token it
    is in prefill: from its first scheduling by the server's timestamp, or from its sending if there is none. How much of its prompt the
    engine's gauges already include in prefill is unknown. A request whose tokens are not counted is unknown until it is done.
    """

    def __init__(self, requests: Requests, times: Ints) -> None:
        """`times`: the readings at which residency is asked, in ascending order."""
        self._requests, self._times = requests, times
        stamped, known = requests.column("server.first_scheduled_ns"), requests.counts_tokens & (requests.responses > 0)
        starts = np.where(requests.has_server, stamped, requests.sent_ns)
        ends = np.where(known, requests.first_token_ns, requests.done_ns)
        waited = (starts != MISSING) & (ends != MISSING) & (starts < ends)
        self._starts, self._ends = np.sort(starts[waited]), np.sort(ends[waited])

    def tokens(self, start_ns: int, end_ns: int) -> Ints:
        """Resident tokens at the readings with start <= time <= end; 0 where a request is in prefill, because the sum is unknown there."""
        chosen = (self._times >= start_ns) & (self._times <= end_ns)
        return np.where(self.in_prefill(self._times[chosen], 0), 0, self._resident[chosen])

    def in_prefill(self, times: Ints, within_ns: int) -> Mask:
        """Whether any request was in prefill at times [n], or at some instant within `within_ns` before."""
        begun = np.searchsorted(self._starts, times, "right")
        waiting: Mask = begun > np.searchsorted(self._ends, times - within_ns, "right")
        return waiting

    @cached_property
    def _resident(self) -> Ints:
        """The resident tokens at each reading. The responses are read once, whatever the number of stages."""
        held = self._requests.select((self._requests.responses > 0) & (self._requests.done_ns != MISSING))
        total = SumAt(self._times)
        total.add(held.first_token_ns, held.input_tokens)
        total.add(held.done_ns, -(held.input_tokens + held.output_tokens))
        for tokens in held.tokens():
            total.add(tokens.arrivals.values, tokens.counts.values)
        return total.sums()


class SumAt:
    """A sum of changes, each effective from its instant, evaluated at given times [n] in ascending order."""

    def __init__(self, times: Ints) -> None:
        self._times = times
        self._changes = np.zeros(len(times) + 1)  # whole numbers, exact below 2**53

    def add(self, instants: Ints, changes: npt.NDArray[Any]) -> None:
        first = np.searchsorted(self._times, instants, "left")
        self._changes += np.bincount(first, changes, len(self._changes))

    def sums(self) -> Ints:
        return np.cumsum(self._changes[:-1]).astype(np.int64)


def kv_cache(
    samples: Samples, start_ns: int, end_ns: int, residency: Residency, bytes_per_token: int | None, prefix_caching: bool
) -> KvCache | None:
    """Use of the KV cache in the window, or None if the window has no readings of it.

    measured = used blocks x block bytes / resident tokens, each summed over the readings with no request in prefill; block bytes = block
    tokens x theoretical bytes per token.
    """
    times, used_all = samples.series("kv_blocks_used")
    used = inside((times, used_all), start_ns, end_ns)
    blocks = samples.series("kv_blocks_max")[1]
    if not len(used) or not len(blocks) or blocks[-1] <= 0:
        return None
    ratio = used / blocks[-1]
    block_tokens = samples.series("kv_block_tokens")[1]
    measured = None
    if bytes_per_token and len(block_tokens):
        resident = residency.tokens(start_ns, end_ns)
        known = resident > 0
        if np.count_nonzero(known) >= LEAST_READINGS and used[known].any():
            measured = float(used[known].sum() * block_tokens[-1] * bytes_per_token / resident[known].sum())
    return KvCache(
        blocks_max=int(blocks[-1]),
        block_tokens=int(block_tokens[-1]) if len(block_tokens) else None,
        used_ratio_peak=float(ratio.max()),
        used_ratio_mean=float(ratio.mean()),
        near_full_ratio=float(np.mean(ratio > NEAR_FULL_RATIO)),
        bytes_per_token_theory=bytes_per_token,
        bytes_per_token_measured=measured,
        fragmentation_ratio=1 - bytes_per_token / measured if measured and bytes_per_token and not prefix_caching else None,
    )


def blocks_left(samples: Samples, after_ns: int, before_ns: int, before: int | None) -> int | None:
    """Blocks in use after the load minus those in use before it. After is the last reading, taken at or after `after_ns`, when all
    requests had drained.

    Before is the last reading at or before `before_ns`, or `before` if there is none. The result is None if either is unknown.
    """
    times, used = samples.series("kv_blocks_used")
    first = int(np.searchsorted(times, before_ns, "right"))
    base = int(used[first - 1]) if first else before
    return max(0, int(used[-1]) - base) if len(times) and times[-1] >= after_ns and base is not None else None
