"""The course of a load with reloads, as much of it as a figure shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trtbench.analysis.percentile import PERMILLES, nearest_rank
from trtbench.analysis.reload_windows import answered_ns
from trtbench.analysis.window import gpu_memory
from trtbench.records import Outcome, RequestRecord
from trtbench.rundir import Samples, Series

_BINS = 300
_LEAST_BIN_NS = 1_000_000_000
_POINTS = 1500


@dataclass(frozen=True, slots=True)
class Course:
    """Bin i of `bin_ns` begins at `from_ns` + i * bin_ns. Completed requests by version (its label) and by when they were sent.

    `ttft_ns`: (instant of the first token, TTFT), of an encoder (of its answer, E2E latency); of over 1,500 the largest of each stretch.
    `itl_p99_ns`: of the gaps that ended in the bin, by nearest rank, which for under 100 is the largest; None of none. `failed_ns`: when
    a request was known not to complete. Memory: (instant, bytes).
    """

    from_ns: int
    to_ns: int
    bin_ns: int
    ttft_ns: tuple[tuple[int, int], ...]
    itl_p99_ns: tuple[float | None, ...]
    by_version: dict[str, tuple[int, ...]]
    failed_ns: tuple[int, ...]
    rss_bytes: tuple[tuple[int, float], ...]
    gpu_bytes: tuple[tuple[int, float], ...]


def course(measured: Sequence[RequestRecord], samples: Samples, from_ns: int, to_ns: int) -> Course:
    bin_ns = max(_LEAST_BIN_NS, -(-(to_ns - from_ns) // _BINS))
    bins = max(1, -(-(to_ns - from_ns) // bin_ns))
    done = [r for r in measured if answered_ns(r) is not None and r.sent_ns is not None]
    versions: dict[str, list[int]] = {}
    for r in done:
        versions.setdefault(r.model_version, [0] * bins)[_bin(r.sent_ns or 0, from_ns, bin_ns, bins)] += 1
    gaps: list[list[int]] = [[] for _ in range(bins)]
    for r in done:
        for earlier, later in pairwise(r.token_ns):
            gaps[_bin(later, from_ns, bin_ns, bins)].append(later - earlier)
    not_failed = (Outcome.COMPLETED, Outcome.CANCELLED, Outcome.NEVER_SENT)
    return Course(
        from_ns=from_ns,
        to_ns=to_ns,
        bin_ns=bin_ns,
        ttft_ns=_largest(sorted((at, at - r.due_ns) for r in done if (at := answered_ns(r)) is not None)),
        itl_p99_ns=tuple(nearest_rank(np.sort(np.array(of_bin)), PERMILLES["p99"]) if of_bin else None for of_bin in gaps),
        by_version={version: tuple(counts) for version, counts in sorted(versions.items(), key=lambda item: (len(item[0]), item[0]))},
        failed_ns=tuple(sorted(r.done_ns if r.done_ns is not None else r.due_ns for r in measured if r.outcome not in not_failed)),
        rss_bytes=_readings(samples.series("server_rss_bytes"), from_ns, to_ns),
        gpu_bytes=_readings(gpu_memory(samples), from_ns, to_ns),
    )


def _bin(instant_ns: int, from_ns: int, bin_ns: int, bins: int) -> int:
    return min(max((instant_ns - from_ns) // bin_ns, 0), bins - 1)


def _largest(points: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The largest of each stretch of as many points as leave at most _POINTS."""
    stride = -(-len(points) // _POINTS) or 1
    return tuple(max(points[i : i + stride], key=lambda point: point[1]) for i in range(0, len(points), stride))


def _readings(series: Series, from_ns: int, to_ns: int) -> tuple[tuple[int, float], ...]:
    pairs: Iterable[tuple[int, float]] = zip(series[0].tolist(), series[1].tolist(), strict=True)
    inside = [pair for pair in pairs if from_ns <= pair[0] <= to_ns]
    stride = -(-len(inside) // _BINS) or 1
    return tuple(max(inside[i : i + stride], key=lambda pair: pair[1]) for i in range(0, len(inside), stride))
