"""What reloads of the model cost the load that ran meanwhile, and what they left behind (docs/hot-reload.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trtbench.analysis.percentile import Distribution
from trtbench.analysis.reload_windows import Calm, calm, disturbed, gaps_inside, recovery_ns, worst
from trtbench.analysis.window import inside
from trtbench.records import Event, Outcome, RequestRecord
from trtbench.rundir import Samples, Series

LEFT_BEHIND = ("server_rss_bytes", "server_fds", "server_threads")
_LIVE = ("READY", "UNLOADING")
_MIN_POINTS = 3


@dataclass(frozen=True, slots=True)
class VersionUse:
    """Completed requests that a model version answered; the first was sent and the last done at these instants."""

    completed: int
    first_sent_ns: int
    last_done_ns: int


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """One reload. The window runs from its start until recovered, or to the next reload or the end of the load if it never was.

    `before`: the undisturbed requests up to the start, None when there were none. `ttft` is of requests due in the window or waiting for
    their first token when it began, `itl` of gaps that ended in it. A spike ratio compares P99s, or maxima where one of the two lacks
    the samples for a P99. `recovery_ns` counts from the start and is never below the reload's own duration; None: not seen to recover.
    `failed` counts requests of the window that did not complete, by outcome. `overlap_ns`: more than one version of the model was live;
    None where the version keeps its number and the index cannot tell. `first_request_penalty_ns`: TTFT of the first request completed
    by what was loaded, less the median before. `served_on`: versions that were ready before and still were after, None if not known.
    """

    number: int
    kind: str
    to: str | None
    start_ns: int
    end_ns: int | None
    loaded: bool
    error: str
    load_s: float | None
    unload_s: float | None
    version: str | None
    served_on: tuple[str, ...] | None
    before: Calm | None
    ttft_ns: Distribution
    itl_ns: Distribution
    ttft_spike_ratio: float | None
    itl_spike_ratio: float | None
    recovery_ns: int | None
    requests: int
    failed: dict[str, int]
    overlap_ns: int | None
    first_request_penalty_ns: float | None
    rss_before_bytes: float | None
    rss_peak_bytes: float | None

    @property
    def as_meant(self) -> bool:
        """A broken version was refused, any other reload loaded."""
        return self.loaded is (self.kind != "broken")


@dataclass(frozen=True, slots=True)
class Reloads:
    """All reloads of a deployment; the stage began at `opened_ns`.

    `slopes`: rise per reload by series, least squares over the readings just before each and at the end; None below three readings.
    """

    opened_ns: int
    reloads: tuple[ReloadResult, ...]
    versions: dict[str, VersionUse]
    slopes: dict[str, float | None]


def reloads(events: Sequence[Event], requests: Sequence[RequestRecord], samples: Samples) -> Reloads | None:
    """Of one deployment's own events and records; None when nothing was reloaded."""
    started = [event for event in events if event.kind == "reload_started"]
    if not started:
        return None
    measured = sorted((r for r in requests if not r.warmup and not r.planned_cancel), key=lambda r: r.due_ns)
    finished = {event.data["number"]: event for event in events if event.kind == "reload_finished"}
    opened_ns = next((e.time_ns for e in events if e.kind == "stage_started"), started[0].time_ns)
    closed_ns = max([started[-1].time_ns, *(r.done_ns for r in measured if r.done_ns is not None)])
    results: list[ReloadResult] = []
    for event, until_ns in zip(started, [*(e.time_ns for e in started[1:]), closed_ns], strict=True):
        before = _before(measured, results, opened_ns, event.time_ns)
        results.append(_reload(event, finished.get(event.data["number"]), until_ns, before, measured, events, samples))
    borders = [*(event.time_ns for event in started), closed_ns]
    return Reloads(opened_ns, tuple(results), _versions(measured), {name: _slope(samples.series(name), borders) for name in LEFT_BEHIND})


def _before(measured: Sequence[RequestRecord], results: Sequence[ReloadResult], opened_ns: int, start_ns: int) -> Calm | None:
    """From the last recovery on; where the last reload was not seen to recover, what was calm before that one."""
    if not results:
        return calm(measured, opened_ns, start_ns)
    last = results[-1]
    return last.before if last.recovery_ns is None else calm(measured, last.start_ns + last.recovery_ns, start_ns)


def _reload(
    started: Event,
    finished: Event | None,
    until_ns: int,
    before: Calm | None,
    measured: Sequence[RequestRecord],
    events: Sequence[Event],
    samples: Samples,
) -> ReloadResult:
    data: dict[str, Any] = started.data | (finished.data if finished else {})
    start_ns, done_ns = started.time_ns, finished.time_ns if finished else None
    recovery = recovery_ns(measured, before, start_ns, done_ns, until_ns)
    end_ns = until_ns if recovery is None else start_ns + recovery
    hit = disturbed(measured, start_ns, end_ns)
    completed = [r for r in hit if r.outcome is Outcome.COMPLETED]
    ttft = Distribution.of(r.token_ns[0] - r.due_ns for r in completed if r.token_ns and r.token_ns[0] >= start_ns)
    itl = Distribution.of(gaps_inside(measured, start_ns, end_ns))
    loaded = bool(data.get("ok"))
    return ReloadResult(
        number=data["number"],
        kind=data["reload"],
        to=data.get("to"),
        start_ns=start_ns,
        end_ns=done_ns,
        loaded=loaded,
        error=str(data.get("error", "")),
        load_s=data.get("load_s"),
        unload_s=data.get("unload_s"),
        version=data.get("version"),
        served_on=_served_on(data),
        before=before,
        ttft_ns=ttft,
        itl_ns=itl,
        ttft_spike_ratio=_spike(ttft, before.ttft_ns if before else None),
        itl_spike_ratio=_spike(itl, before.itl_ns if before else None),
        recovery_ns=recovery,
        requests=len(hit),
        failed=dict(sorted(Counter(r.outcome.value for r in hit if r.outcome is not Outcome.COMPLETED).items())),
        overlap_ns=_overlap_ns(events, start_ns, until_ns) if loaded and data["reload"] == "new_version" else None,
        first_request_penalty_ns=_penalty_ns(measured, data.get("version"), done_ns, until_ns, before) if loaded else None,
        rss_before_bytes=_last_before(samples.series("server_rss_bytes"), start_ns),
        rss_peak_bytes=_peak(samples, start_ns, end_ns),
    )


def _served_on(data: dict[str, Any]) -> tuple[str, ...] | None:
    before, after = data.get("versions_before"), data.get("versions_after")
    if before is None or after is None:
        return None
    return tuple(version for version, state in before.items() if state == "READY" and after.get(version) == "READY")


def _spike(during: Distribution, before: Distribution | None) -> float | None:
    if before is None:
        return None
    of, to = worst(during, before), worst(before, during)
    return of / to if of is not None and to else None


def _overlap_ns(events: Sequence[Event], start_ns: int, until_ns: int) -> int | None:
    """None when the index was not read in that time or before it."""
    seen = [(event.time_ns, event.data["versions"]) for event in events if event.kind == "model_versions" and event.time_ns < until_ns]
    if not seen or seen[-1][0] < start_ns:
        return None
    ends = [*(at for at, _ in seen[1:]), until_ns]
    spans = [(max(at, start_ns), end) for (at, states), end in zip(seen, ends, strict=True) if _live(states) > 1]
    return sum(end - at for at, end in spans if end > at)


def _live(states: dict[str, str]) -> int:
    return sum(state in _LIVE for state in states.values())


def _penalty_ns(
    measured: Sequence[RequestRecord], version: str | None, done_ns: int | None, until_ns: int, before: Calm | None
) -> float | None:
    """Of a version that keeps its number, the first request sent after the load stands for the first it answered."""
    if before is None or before.ttft_ns.p50 is None or done_ns is None:
        return None
    firsts = [
        (r.sent_ns, r.token_ns[0] - r.due_ns)
        for r in measured
        if r.outcome is Outcome.COMPLETED
        and r.token_ns
        and r.sent_ns is not None
        and (r.model_version == version if version else done_ns <= r.sent_ns < until_ns)
    ]
    return min(firsts)[1] - before.ttft_ns.p50 if firsts else None


def _versions(measured: Sequence[RequestRecord]) -> dict[str, VersionUse]:
    spans: dict[str, list[tuple[int, int]]] = {}
    for r in measured:
        if r.outcome is Outcome.COMPLETED and r.model_version and r.sent_ns is not None and r.done_ns is not None:
            spans.setdefault(r.model_version, []).append((r.sent_ns, r.done_ns))
    return {
        version: VersionUse(len(span), min(sent for sent, _ in span), max(done for _, done in span))
        for version, span in sorted(spans.items(), key=lambda item: (len(item[0]), item[0]))
    }


def _peak(samples: Samples, start_ns: int, end_ns: int) -> float | None:
    values = inside(samples.series("server_rss_bytes"), start_ns, end_ns)
    return float(values.max()) if len(values) else None


def _last_before(series: Series, at_ns: int) -> float | None:
    times, values = series
    position = int(np.searchsorted(times, at_ns, "right")) - 1
    return float(values[position]) if position >= 0 else None


def _slope(series: Series, borders_ns: Sequence[int]) -> float | None:
    found = [(i, value) for i, at in enumerate(borders_ns) if (value := _last_before(series, at)) is not None]
    return float(np.polyfit([i for i, _ in found], [value for _, value in found], 1)[0]) if len(found) >= _MIN_POINTS else None
