"""The cost of model reloads for the load that ran at the same time, and what the reloads left behind (docs/hot-reload.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.found import Key
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.stats.trends import fit_line
from trtbench.analysis.stats.window import gpu_memory, last_before, peak
from trtbench.experiments.hot_reload.course import Course, course
from trtbench.experiments.hot_reload.reload_groups import ReloadGroup, groups
from trtbench.experiments.hot_reload.reload_result import ReloadResult, lost_of
from trtbench.experiments.hot_reload.windows import (
    NS_PER_S,
    Baseline,
    Measured,
    affected,
    baseline,
    disturbed,
    recovery_ns,
    says_little,
    worst,
)
from trtbench.rundir.event_kinds import StageStarted
from trtbench.rundir.events import timed, times_ns
from trtbench.rundir.experiment_events import ModelVersions, ReloadFinished, ReloadStarted
from trtbench.rundir.records import Event, Outcome
from trtbench.rundir.requests import MISSING, Requests
from trtbench.rundir.samples import Samples, Series
from trtbench.rundir.series import SeriesName

LEFT_BEHIND: tuple[SeriesName, ...] = ("server_rss_bytes", "server_fds", "server_threads", "gpu_memory_used_bytes")
LEAST_READINGS = 3
LEAK_READINGS = 5
_LEAK_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class Rise:
    """The least-squares rise over `readings` of a series, one at each border between reloads, in its own unit.

    `half_width`: of the 95 % confidence interval around `per_reload`. `start`: the first reading.
    """

    per_reload: float
    half_width: float
    readings: int
    start: float

    @property
    def is_leak(self) -> bool:
        """Whether the interval is above zero and the total rise over 5 %, with enough readings to distinguish it from a warm-up."""
        rises = self.readings >= LEAK_READINGS and self.per_reload > self.half_width
        return rises and self.per_reload * (self.readings - 1) > _LEAK_RATIO * self.start


def rise(series: Series, borders_ns: Sequence[int | None]) -> Rise | None:
    """The rise per reload, from the last reading at or before each border that is not None; None for fewer than three readings."""
    known = [(i, at) for i, at in enumerate(borders_ns) if at is not None]
    found = [(i, value) for i, at in known if (value := last_before(series, at)) is not None]
    if len(found) < LEAST_READINGS:
        return None
    line = fit_line(*zip(*found, strict=True))
    return Rise(line.slope, line.half_width, len(found), found[0][1])


_LIVE = ("READY", "UNLOADING")
RELOADS: Key[Reloads | None] = Key("reloads")


@dataclass(frozen=True, slots=True)
class VersionUse:
    """Completed requests that a model version answered. The first was sent and the last ended at these instants."""

    completed: int
    first_sent_ns: int
    last_done_ns: int


@dataclass(frozen=True, slots=True)
class Reloads:
    """All reloads of a deployment; the stage began at `opened_ns`. `rises` by series use the readings just before each reload, and at
    the end if no earlier reload has an effect there.

    `failed`: requests of any window that did not complete, by outcome, each once, because one that waits long is in the windows of
    several reloads.
    """

    opened_ns: int
    reloads: tuple[ReloadResult, ...]
    failed: dict[str, int]
    groups: tuple[ReloadGroup, ...]
    versions: dict[str, VersionUse]
    rises: dict[str, Rise | None]
    course: Course

    @property
    def unavailable(self) -> int:
        """Requests that failed in a window because no version of the model was ready."""
        return self.failed.get(Outcome.UNAVAILABLE, 0)

    @property
    def lost(self) -> int:
        """Requests that failed, except those that the end of the load cancelled."""
        return lost_of(self.failed)


def reloads(events: Sequence[Event], requests: Requests, samples: Samples) -> Reloads | None:
    """Reload results of one deployment, or None if it was never reloaded."""
    started = list(timed(events, ReloadStarted))
    if not started:
        return None
    measured = Measured(requests.select(~requests.warmup & ~requests.planned_cancel))
    finished = {reload.number: (time_ns, reload) for time_ns, reload in timed(events, ReloadFinished)}
    starts = [time_ns for time_ns, _ in started]
    opened_ns = next(iter([*times_ns(events, StageStarted), *starts]))
    closed_ns = max([starts[-1], *measured.done_ns.max(initial=MISSING, keepdims=True).tolist()])
    rss, gpu = samples.series("server_rss_bytes"), gpu_memory(samples)
    results: list[ReloadResult] = []
    for (start_ns, reload), until_ns in zip(started, [*starts[1:], closed_ns], strict=True):
        done_ns, done = finished.get(reload.number, (None, ReloadFinished(number=reload.number)))
        before = _before(measured, results, opened_ns, start_ns)
        recorded = _Recorded(reload, start_ns, done, done_ns, until_ns)
        results.append(_reload(recorded, before, measured, events, (rss, gpu)))
    undisturbed = [True, *(one.after is not None for one in results)]  # else what is open is also that of requests that pile up
    borders = [at if good else None for at, good in zip([*starts, closed_ns], undisturbed, strict=True)]
    series = {name: samples.series(name) for name in LEFT_BEHIND} | {"gpu_memory_used_bytes": gpu}
    return Reloads(
        opened_ns=opened_ns,
        reloads=tuple(results),
        failed=measured.failed(np.unique(np.concatenate([disturbed(measured, one.start_ns, one.window_end_ns) for one in results]))),
        groups=groups(results, measured),
        versions=_versions(measured),
        rises={name: rise(one, borders) for name, one in series.items()},
        course=course(measured, samples, opened_ns, closed_ns),
    )


def _before(measured: Measured, results: Sequence[ReloadResult], opened_ns: int, start_ns: int) -> Baseline | None:
    """The baseline since the last recovery; the previous baseline if the last reload did not recover or has no baseline after it."""
    if not results:
        return baseline(measured, opened_ns, start_ns)
    last = results[-1]
    return last.after or last.before


@dataclass(frozen=True, slots=True)
class _Recorded:
    """One reload according to its events. If it did not finish, `done` is empty and `done_ns` is None."""

    asked: ReloadStarted
    start_ns: int
    done: ReloadFinished
    done_ns: int | None
    until_ns: int  # the next reload, or the end of the load

    @property
    def is_seen(self) -> bool:
        """Whether the index distinguishes the old from the new version: the new one has a number of its own, and the directory of the
        old one was not removed first.
        """
        polled_away = self.asked.reload == "blue_green" and self.asked.control == "poll"
        return self.done.ok and bool(self.done.version) and not polled_away

    @property
    def served_on(self) -> tuple[str, ...] | None:
        before, after = self.done.versions_before, self.done.versions_after
        if before is None or after is None:
            return None
        return tuple(version for version, state in before.items() if state == "READY" and after.get(version) == "READY")


def _reload(
    recorded: _Recorded,
    before: Baseline | None,
    measured: Measured,
    events: Sequence[Event],
    memory: tuple[Series, Series],
) -> ReloadResult:
    """The result of one reload. `memory`: of the server, and of all GPUs."""
    asked, done, start_ns, done_ns, until_ns = recorded.asked, recorded.done, recorded.start_ns, recorded.done_ns, recorded.until_ns
    recovery = recovery_ns(measured, before, start_ns, done_ns, until_ns)
    end_ns = until_ns if recovery is None else start_ns + recovery
    in_window = disturbed(measured, start_ns, end_ns)
    ttft = Distribution.of(measured.wait_ns[affected(measured, start_ns, end_ns)])
    itl = Distribution.of(measured.gaps(start_ns, end_ns)[1])
    answer_ns, penalty_ns = _first_answer(measured, done.version, done_ns, until_ns, before) if done.ok else (None, None)
    rss, gpu = memory
    return ReloadResult(
        number=asked.number,
        repeat=asked.repeat,
        kind=asked.reload,
        control=asked.control,
        warmup=asked.warmup,
        loaded=done.ok,
        error=done.error,
        loaded_ns=done_ns if done.loaded_s is None else start_ns + round(done.loaded_s * NS_PER_S),
        served_on=recorded.served_on,
        to=asked.to,
        breaks=asked.breaks,
        version=done.version,
        load_s=done.load_s,
        unload_s=done.unload_s,
        switched_s=done.switched_s,
        drain_s=done.drain_s,
        start_ns=start_ns,
        end_ns=done_ns,
        until_ns=until_ns,
        before=before,
        after=None if recovery is None else baseline(measured, end_ns, until_ns),
        ttft_ns=ttft,
        itl_ns=itl,
        ttft_spike_ratio=None if says_little(measured, in_window) else _spike(ttft, before.ttft_ns if before else None),
        itl_spike_ratio=_spike(itl, before.itl_ns if before else None),
        recovery_ns=recovery,
        requests=len(in_window),
        failed=measured.failed(in_window),
        overlap_ns=_overlap_ns(events, start_ns, until_ns) if recorded.is_seen else None,
        first_request_penalty_ns=penalty_ns,
        first_answer_ns=answer_ns,
        rss_before_bytes=last_before(rss, start_ns),
        rss_peak_bytes=peak(rss, start_ns, until_ns),
        gpu_before_bytes=last_before(gpu, start_ns),
        gpu_peak_bytes=peak(gpu, start_ns, until_ns),
    )


def _spike(during: Distribution, before: Distribution | None) -> float | None:
    if before is None:
        return None
    of, to = worst(during, before), worst(before, during)
    return of / to if of is not None and to else None


def _overlap_ns(events: Sequence[Event], start_ns: int, until_ns: int) -> int | None:
    """The time with more than one version loaded, or None if the index showed no change in that time."""
    seen = [(time_ns, said.versions) for time_ns, said in timed(events, ModelVersions) if time_ns < until_ns]
    if not seen or seen[-1][0] < start_ns:
        return None
    ends = [*(at for at, _ in seen[1:]), until_ns]
    spans = [(max(at, start_ns), end) for (at, states), end in zip(seen, ends, strict=True) if _live(states) > 1]
    return sum(end - at for at, end in spans if end > at)


def _live(states: Mapping[str, str]) -> int:
    return sum(state in _LIVE for state in states.values())


def _first_answer(
    measured: Measured, version: str | None, done_ns: int | None, until_ns: int, before: Baseline | None
) -> tuple[int | None, float | None]:
    """(Instant of its first token, its penalty) of the first request that the loaded version completed.

    If a version keeps its number, the first request sent after the load is taken.
    """
    if done_ns is None:
        return None, None
    own = measured.versions.equal(version) if version else (measured.sent_ns >= done_ns) & (measured.sent_ns < until_ns)
    at = np.flatnonzero(own & measured.was_answered & (measured.sent_ns != MISSING))
    if not len(at):
        return None, None
    first = at[np.lexsort((measured.wait_ns[at], measured.answered_ns[at], measured.sent_ns[at]))[0]]
    answer_ns, ttft_ns = int(measured.answered_ns[first]), int(measured.wait_ns[first])
    median_ns = before.ttft_ns.p50 if before else None
    return answer_ns, None if median_ns is None else ttft_ns - median_ns


def _versions(measured: Measured) -> dict[str, VersionUse]:
    known = measured.ended(Outcome.COMPLETED) & (measured.sent_ns != MISSING) & (measured.done_ns != MISSING)
    spans = {}
    for code in np.unique(measured.versions.codes[known]).tolist():
        of_version = known & (measured.versions.codes == code)
        sent, done = int(measured.sent_ns[of_version].min()), int(measured.done_ns[of_version].max())
        spans[measured.versions.values[code]] = VersionUse(int(of_version.sum()), sent, done)
    return {version: spans[version] for version in sorted(spans, key=lambda name: (len(name), name)) if version}
