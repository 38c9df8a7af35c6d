"""The repeats of one kind of reload: median and range of each figure, and the windows pooled, because the pool has enough requests for
a percentile that no single window has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from trtbench.analysis.stats.percentile import PERMILLES, Distribution, nearest_rank
from trtbench.experiments.hot_reload.reload_result import ReloadResult
from trtbench.experiments.hot_reload.windows import Measured, affected, disturbed, says_little, undisturbed
from trtbench.rundir.ragged import Ints


@dataclass(frozen=True, slots=True)
class Pool:
    """Requests affected by one of `windows` reloads, and those of the baselines before them, each request and each baseline once.

    A spike ratio compares P99s and is None if one of the two has too few samples, because the maximum of more windows is larger by
    chance. That of `ttft` is also None if over 1 % of the requests were lost. `ttft_p99_without_one_ns`: smallest and largest P99, by
    nearest rank whatever the number of samples, of all windows except one; None for a single window. It shows how much depends on a
    single reload, because the requests of one window are alike.
    """

    windows: int
    before_ttft_ns: Distribution
    ttft_ns: Distribution
    before_itl_ns: Distribution
    itl_ns: Distribution
    ttft_spike_ratio: float | None
    itl_spike_ratio: float | None
    ttft_p99_without_one_ns: tuple[float, float] | None


def pool(ones: Sequence[ReloadResult], measured: Measured) -> Pool:
    windows = [affected(measured, one.start_ns, one.window_end_ns) for one in ones]
    in_window = _union([disturbed(measured, one.start_ns, one.window_end_ns) for one in ones])
    baselines = {(one.before.from_ns, one.before.to_ns) for one in ones if one.before}
    before = [undisturbed(measured, *span) for span in baselines]
    before_ttft, ttft = _waits(measured, before), _waits(measured, windows)
    before_gaps = [measured.gaps(*span, done)[1] for span, done in zip(baselines, before, strict=True)]
    gaps = [measured.gaps(one.start_ns, one.window_end_ns)[1] for one in ones]
    before_itl, itl = (Distribution.of(np.concatenate([np.empty(0, np.int64), *parts])) for parts in (before_gaps, gaps))
    return Pool(
        windows=len(ones),
        before_ttft_ns=before_ttft,
        ttft_ns=ttft,
        before_itl_ns=before_itl,
        itl_ns=itl,
        ttft_spike_ratio=None if says_little(measured, in_window) else _ratio(ttft, before_ttft),
        itl_spike_ratio=_ratio(itl, before_itl),
        ttft_p99_without_one_ns=_without_one(measured, windows),
    )


def _union(windows: Sequence[Ints]) -> Ints:
    """The union of index arrays, with each request once."""
    each: Ints = np.unique(np.concatenate([np.empty(0, np.int64), *windows]))
    return each


def _waits(measured: Measured, windows: Sequence[Ints]) -> Distribution:
    return Distribution.of(measured.wait_ns[_union(windows)])


def _ratio(during: Distribution, before: Distribution) -> float | None:
    return during.p99 / before.p99 if during.p99 is not None and before.p99 else None


def _without_one(measured: Measured, windows: Sequence[Ints]) -> tuple[float, float] | None:
    found = list(_p99s(measured, windows)) if len(windows) > 1 else []
    return (min(found), max(found)) if found else None


def _p99s(measured: Measured, windows: Sequence[Ints]) -> Iterator[float]:
    for i in range(len(windows)):
        rest = _union([*windows[:i], *windows[i + 1 :]])
        if len(rest):
            yield nearest_rank(np.sort(measured.wait_ns[rest]), PERMILLES["p99"])


FIGURES: dict[str, Callable[[ReloadResult], float | None]] = {
    "ttft_spike_ratio": lambda one: one.ttft_spike_ratio,
    "itl_spike_ratio": lambda one: one.itl_spike_ratio,
    "recovery_ns": lambda one: one.recovery_ns,
    "load_s": lambda one: one.load_s,
    "overlap_ns": lambda one: one.overlap_ns,
    "first_request_penalty_ns": lambda one: one.first_request_penalty_ns,
    "lost": lambda one: one.lost,
}


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range of a figure over the `count` repeats that have it."""

    median: float
    min: float
    max: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        known = [value for value in values if value is not None]
        return cls(median(known), min(known), max(known), len(known)) if known else None


@dataclass(frozen=True, slots=True)
class ReloadGroup:
    """The reloads that were requested in the same way. `figures` are by the names of FIGURES. `recovered`: how many were seen to
    recover.
    """

    example: ReloadResult
    repeats: int
    as_meant: int
    recovered: int
    figures: dict[str, Spread | None]
    pool: Pool


def groups(results: Sequence[ReloadResult], measured: Measured) -> tuple[ReloadGroup, ...]:
    """Reloads with the same settings, in the order of their first reload. Interrupted reloads are left out."""
    alike: dict[tuple[object, ...], list[ReloadResult]] = {}
    for one in results:
        if one.end_ns is not None:
            alike.setdefault((one.kind, one.to, one.breaks, one.warmup), []).append(one)
    return tuple(
        ReloadGroup(
            example=ones[0],
            repeats=len(ones),
            as_meant=sum(one.as_meant for one in ones),
            recovered=sum(one.recovery_ns is not None for one in ones),
            figures={name: Spread.of(map(figure, ones)) for name, figure in FIGURES.items()},
            pool=pool(ones, measured),
        )
        for ones in alike.values()
    )
