"""The course of a load with reloads, with the data of a figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from trtbench.analysis.stats.percentile import PERMILLES, nearest_rank
from trtbench.analysis.stats.window import gpu_memory
from trtbench.experiments.hot_reload.windows import Measured
from trtbench.rundir.ragged import Ints
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING
from trtbench.rundir.samples import Samples, Series

_BINS = 300
_LEAST_BIN_NS = 1_000_000_000
_POINTS = 1500
_GAPS_AT_ONCE = 20_000_000
_FOR_EVER_NS = 2**62


@dataclass(frozen=True, slots=True)
class Course:
    """The course in bins. Bin i of `bin_ns` begins at `from_ns` + i * bin_ns. Completed requests are by version (its label) and by
    sending time.

    `ttft_ns`: (instant of the first token, TTFT), of an encoder (of its answer, E2E latency); of more than 1,500 the largest of each
    stretch. `itl_p99_ns`: of the gaps that ended in the bin, by nearest rank, which is the largest for fewer than 100; None without
    gaps. `failed_ns`: when a request was known not to complete. Memory: (instant, bytes).
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


def course(measured: Measured, samples: Samples, from_ns: int, to_ns: int) -> Course:
    bin_ns = max(_LEAST_BIN_NS, -(-(to_ns - from_ns) // _BINS))
    bins = max(1, -(-(to_ns - from_ns) // bin_ns))
    done = np.flatnonzero(measured.was_answered & (measured.sent_ns != MISSING))
    sent, versions = _bin(measured.sent_ns[done], from_ns, bin_ns, bins), measured.versions.codes[done]
    by_version = {measured.versions.values[code]: sent[versions == code] for code in np.unique(versions).tolist()}
    failed = ~measured.ended(Outcome.COMPLETED, Outcome.CANCELLED, Outcome.NEVER_SENT)
    return Course(
        from_ns=from_ns,
        to_ns=to_ns,
        bin_ns=bin_ns,
        ttft_ns=_largest(measured.answered_ns[done], measured.wait_ns[done]),
        itl_p99_ns=tuple(_itl_p99s(measured, done, from_ns, bin_ns, bins)),
        by_version={
            version: tuple(np.bincount(at, minlength=bins).tolist())
            for version, at in sorted(by_version.items(), key=lambda item: (len(item[0]), item[0]))
        },
        failed_ns=tuple(np.sort(measured.over_ns[failed]).tolist()),
        rss_bytes=_readings(samples.series("server_rss_bytes"), from_ns, to_ns),
        gpu_bytes=_readings(gpu_memory(samples), from_ns, to_ns),
    )


def _itl_p99s(measured: Measured, done: Ints, from_ns: int, bin_ns: int, bins: int) -> Iterator[float | None]:
    """The P99 of ITL in each bin, computed for as many bins at a time as fit in memory. The first and last bins include all gaps beyond
    them.
    """
    parts = min(bins, 1 + int(measured.responses[done].sum()) // _GAPS_AT_ONCE)
    edges = np.linspace(0, bins, parts + 1).round().astype(int).tolist()
    for first, last in pairwise(edges):
        start = from_ns + first * bin_ns - 1 if first else -_FOR_EVER_NS
        end = from_ns + last * bin_ns - 1 if last < bins else _FOR_EVER_NS
        ends, gaps = measured.gaps(start, end, done)
        at = _bin(ends, from_ns, bin_ns, bins)
        order = np.argsort(at, kind="stable")
        borders = np.searchsorted(at[order], np.arange(first, last + 1))
        for low, high in pairwise(borders.tolist()):
            of_bin = np.sort(gaps[order[low:high]])
            yield nearest_rank(of_bin, PERMILLES["p99"]) if len(of_bin) else None


def _bin(instants_ns: Ints, from_ns: int, bin_ns: int, bins: int) -> Ints:
    return np.clip((instants_ns - from_ns) // bin_ns, 0, bins - 1)


def _largest(instants_ns: Ints, waits_ns: Ints) -> tuple[tuple[int, int], ...]:
    """(Instant, wait) in order, keeping the largest of each stretch; the stretches are as long as needed to leave at most _POINTS."""
    order = np.lexsort((waits_ns, instants_ns))
    return tuple(_peaks(instants_ns[order], waits_ns[order], _POINTS))


def _readings(series: Series, from_ns: int, to_ns: int) -> tuple[tuple[int, float], ...]:
    inside = (series[0] >= from_ns) & (series[0] <= to_ns)
    return tuple(_peaks(series[0][inside], series[1][inside], _BINS))


def _peaks(times: Ints, values: npt.NDArray[Any], most: int) -> Iterator[tuple[int, Any]]:
    stride = -(-len(times) // most) or 1
    for start in range(0, len(times), stride):
        at = start + int(values[start : start + stride].argmax())
        yield int(times[at]), values[at].item()
