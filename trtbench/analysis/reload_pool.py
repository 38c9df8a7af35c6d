"""The windows of all repeats of one kind of reload together: enough requests for a percentile that no single window has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from trtbench.analysis.percentile import PERMILLES, Distribution, nearest_rank
from trtbench.analysis.reload_result import ReloadResult
from trtbench.analysis.reload_windows import disturbed, gaps_inside, met, says_little, undisturbed, wait_ns
from trtbench.records import RequestRecord


@dataclass(frozen=True, slots=True)
class Pool:
    """Requests that met one of `windows` reloads, and those of the calm before them, each request and each calm once.

    A spike ratio compares P99s and is None where one of the two lacks the samples: the maximum of more windows is larger by chance.
    That of `ttft` is None also where over 1 % of the requests were lost. `ttft_p99_without_one_ns`: smallest and largest P99, by nearest
    rank whatever the samples, of all windows but one. It says how much hangs on a single reload, as requests of one window are alike;
    None of a single window.
    """

    windows: int
    before_ttft_ns: Distribution
    ttft_ns: Distribution
    before_itl_ns: Distribution
    itl_ns: Distribution
    ttft_spike_ratio: float | None
    itl_spike_ratio: float | None
    ttft_p99_without_one_ns: tuple[float, float] | None


def pool(ones: Sequence[ReloadResult], measured: Sequence[RequestRecord]) -> Pool:
    """`measured` is in the order of being due."""
    windows = [met(measured, one.start_ns, one.window_end_ns) for one in ones]
    hit = {id(r): r for one in ones for r in disturbed(measured, one.start_ns, one.window_end_ns)}
    calms = {(one.before.from_ns, one.before.to_ns) for one in ones if one.before}
    before = [undisturbed(measured, *span) for span in calms]
    before_ttft, ttft = _waits(before), _waits(windows)
    before_itl = Distribution.of(gap for span, done in zip(calms, before, strict=True) for gap in gaps_inside(done, *span))
    itl = Distribution.of(gap for one in ones for gap in gaps_inside(measured, one.start_ns, one.window_end_ns))
    return Pool(
        windows=len(ones),
        before_ttft_ns=before_ttft,
        ttft_ns=ttft,
        before_itl_ns=before_itl,
        itl_ns=itl,
        ttft_spike_ratio=None if says_little(list(hit.values())) else _ratio(ttft, before_ttft),
        itl_spike_ratio=_ratio(itl, before_itl),
        ttft_p99_without_one_ns=_without_one(windows),
    )


def _waits(windows: Iterable[Sequence[RequestRecord]]) -> Distribution:
    return Distribution.of({id(r): wait_ns(r) for r in chain.from_iterable(windows)}.values())


def _ratio(during: Distribution, before: Distribution) -> float | None:
    return during.p99 / before.p99 if during.p99 is not None and before.p99 else None


def _without_one(windows: Sequence[Sequence[RequestRecord]]) -> tuple[float, float] | None:
    found = list(_p99s(windows)) if len(windows) > 1 else []
    return (min(found), max(found)) if found else None


def _p99s(windows: Sequence[Sequence[RequestRecord]]) -> Iterator[float]:
    for i in range(len(windows)):
        rest = {id(r): wait_ns(r) for r in chain.from_iterable((*windows[:i], *windows[i + 1 :]))}
        if rest:
            yield nearest_rank(np.sort(np.array(list(rest.values()))), PERMILLES["p99"])
