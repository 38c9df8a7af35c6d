"""Use of the paged KV cache, and what a token costs in it, by theory and as measured (metrics.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trtbench.analysis.window import inside
from trtbench.records import RequestRecord
from trtbench.rundir import Samples

NEAR_FULL_RATIO = 0.9


@dataclass(frozen=True, slots=True)
class KvCache:
    """One stage. Bytes per token are None without the model's facts or where no request was resident when sampled."""

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

    A request is resident with its whole prompt from its first scheduling (the server's stamp, else its first token) until it is
    done, and grows by each token that arrives.
    """

    def __init__(self, requests: Sequence[RequestRecord]) -> None:
        steps = [step for request in requests for step in _steps(request)]
        steps.sort()
        self._times = np.array([time for time, _ in steps], np.int64)
        self._tokens = np.cumsum(np.array([change for _, change in steps], np.int64))

    def at(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Resident tokens [n] at times [n]."""
        position = np.searchsorted(self._times, times, "right")
        return np.concatenate([np.zeros(1, np.int64), self._tokens])[position]


def _steps(request: RequestRecord) -> list[tuple[int, int]]:
    if not request.token_ns or request.done_ns is None:
        return []
    start_ns = min(request.server.first_scheduled_ns, request.token_ns[0]) if request.server else request.token_ns[0]
    held = request.input_tokens + request.output_tokens
    growth = list(zip(request.token_ns, request.token_counts, strict=True))
    return [(start_ns, request.input_tokens), *growth, (request.done_ns, -held)]


def kv_cache(
    samples: Samples, start_ns: int, end_ns: int, residency: Residency, bytes_per_token: int | None, prefix_caching: bool
) -> KvCache | None:
    """None where the engine shows no KV metrics, or none fell into the window.

    measured = used blocks x block bytes / resident tokens, each summed over the readings; block bytes = block tokens x theory.
    """
    times, used_all = samples.series("kv_blocks_used")
    used = inside((times, used_all), start_ns, end_ns)
    blocks = samples.series("kv_blocks_max")[1]
    if not len(used) or not len(blocks) or blocks[-1] <= 0:
        return None
    ratio = used / blocks[-1]
    block_tokens = samples.series("kv_block_tokens")[1]
    resident = residency.at(times[(times >= start_ns) & (times <= end_ns)])
    measured = None
    if bytes_per_token and len(block_tokens) and used[resident > 0].sum() > 0:
        measured = float(used[resident > 0].sum() * block_tokens[-1] * bytes_per_token / resident.sum())
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


def blocks_left(samples: Samples, after_ns: int) -> int | None:
    """Blocks still in use at the last reading, taken at or after `after_ns` (everything drained); None if there was no such reading."""
    times, used = samples.series("kv_blocks_used")
    return int(used[-1]) if len(times) and times[-1] >= after_ns else None
