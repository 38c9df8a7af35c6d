"""Use of the paged KV cache, and what a token costs in it, by theory and as measured (metrics.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trtbench.analysis.window import inside
from trtbench.records import RequestRecord
from trtbench.rundir import Samples

NEAR_FULL_RATIO = 0.9
LEAST_READINGS = 5
"""With resident requests and none in prefill."""


@dataclass(frozen=True, slots=True)
class KvCache:
    """One stage. Bytes per token are None without the model's facts, or with fewer than LEAST_READINGS to measure by."""

    blocks_max: int
    block_tokens: int | None
    used_ratio_peak: float
    used_ratio_mean: float
    near_full_ratio: float  # readings with over 90 % used
    bytes_per_token_theory: int | None
    bytes_per_token_measured: float | None
    fragmentation_ratio: float | None  # 1 - theory / measured; None with prefix caching, where tokens share blocks


class Residency:
    """Tokens whose keys and values the engine holds, at any instant, told from the requests' own instants.

    A request is resident with its prompt from its first token until it is done, and grows by each token that arrives. Before its
    first token it is in prefill (from its first scheduling by the server's stamp, else from when it was sent), and how much of its
    prompt the engine's gauges show already is not known. One whose tokens nobody counts is as little known until it is done.
    """

    def __init__(self, requests: Sequence[RequestRecord]) -> None:
        self._resident = RunningSum(step for request in requests for step in _growth(request))
        self._in_prefill = RunningSum(step for request in requests for step in _prefill(request))

    def tokens(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Resident tokens [n] at times [n]; 0 where a request is in prefill, for there the sum is not known."""
        return np.where(self._in_prefill.at(times) > 0, 0, self._resident.at(times))

    def in_prefill(self, times: npt.NDArray[np.int64], within_ns: int) -> npt.NDArray[np.bool_]:
        """Whether any request was in prefill at times [n], or at some instant within `within_ns` before."""
        return np.array([self._in_prefill.most(time_ns - within_ns, time_ns) > 0 for time_ns in times.tolist()], np.bool_)


class RunningSum:
    """A running sum over (time, change) steps."""

    def __init__(self, steps: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(steps)
        self._times = np.array([time for time, _ in ordered], np.int64)
        self._sums = np.cumsum(np.array([0, *(change for _, change in ordered)], np.int64))

    def at(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        found: npt.NDArray[np.int64] = self._sums[np.searchsorted(self._times, times, "right")]
        return found

    def most(self, from_ns: int, to_ns: int) -> int:
        first, last = np.searchsorted(self._times, [from_ns, to_ns], "right")
        return int(self._sums[first : last + 1].max())


def _growth(request: RequestRecord) -> list[tuple[int, int]]:
    if not request.token_ns or request.done_ns is None:
        return []
    growth = list(zip(request.token_ns, request.token_counts, strict=True))
    held = request.input_tokens + request.output_tokens
    return [(request.token_ns[0], request.input_tokens), *growth, (request.done_ns, -held)]


def _prefill(request: RequestRecord) -> list[tuple[int, int]]:
    start_ns = request.server.first_scheduled_ns if request.server else request.sent_ns
    end_ns = request.token_ns[0] if request.token_ns and request.counts_tokens else request.done_ns
    return [(start_ns, 1), (end_ns, -1)] if start_ns is not None and end_ns is not None and start_ns < end_ns else []


def kv_cache(
    samples: Samples, start_ns: int, end_ns: int, residency: Residency, bytes_per_token: int | None, prefix_caching: bool
) -> KvCache | None:
    """None where the engine shows no KV metrics, or none fell into the window.

    measured = used blocks x block bytes / resident tokens, each summed over the readings with no request in prefill;
    block bytes = block tokens x theory.
    """
    times, used_all = samples.series("kv_blocks_used")
    used = inside((times, used_all), start_ns, end_ns)
    blocks = samples.series("kv_blocks_max")[1]
    if not len(used) or not len(blocks) or blocks[-1] <= 0:
        return None
    ratio = used / blocks[-1]
    block_tokens = samples.series("kv_block_tokens")[1]
    resident = residency.tokens(times[(times >= start_ns) & (times <= end_ns)])
    measured = None
    told = resident > 0
    if bytes_per_token and len(block_tokens) and np.count_nonzero(told) >= LEAST_READINGS and used[told].any():
        measured = float(used[told].sum() * block_tokens[-1] * bytes_per_token / resident[told].sum())
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
    """Blocks in use at the last reading, taken at or after `after_ns` (everything drained), beyond those in use before the load.

    Before is the last reading at or before `before_ns`, where there is none `before`. None if either is not known.
    """
    times, used = samples.series("kv_blocks_used")
    first = int(np.searchsorted(times, before_ns, "right"))
    base = int(used[first - 1]) if first else before
    return max(0, int(used[-1]) - base) if len(times) and times[-1] >= after_ns and base is not None else None
