"""The course of a deployment over time, reduced for drawing in a way that keeps every peak and trough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trtbench.analysis.stage.outcomes import cancelled_as_planned
from trtbench.rundir.requests import MISSING, Requests
from trtbench.rundir.samples import Samples, Series

_POINTS = 400


@dataclass(frozen=True, slots=True)
class Curve:
    """A sampled series in bins of consecutive readings, each with the instant of its first reading, its largest value and its smallest.

    If there are few readings, each bin has one. Empty for a series that was never read.
    """

    time_ns: tuple[int, ...]
    value: tuple[float, ...]
    low: tuple[float, ...]

    @classmethod
    def of(cls, series: Series, points: int = _POINTS) -> Curve:
        times, values = series
        if not len(times):
            return cls((), (), ())
        starts = np.unique(np.linspace(0, len(times), min(points, len(times)), endpoint=False).astype(int))
        low, high = (extreme.reduceat(values, starts) for extreme in (np.minimum, np.maximum))
        return cls(tuple(times[starts].tolist()), tuple(high.tolist()), tuple(low.tolist()))


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is drawn together with the curves of used blocks, running and waiting requests. `reused_blocks` is cumulative from the engine's
    start.

    `kv_blocks_max` is None if the engine does not report it. `cancels_ns`: the instants of planned cancellations, at most as many as a
    curve has bins, evenly spaced by rank with the first and the last included. `end_ns` is the last reading.
    """

    kv_blocks_max: int | None
    free_blocks: Curve
    reused_blocks: Curve
    paused: Curve
    cancels_ns: tuple[int, ...]
    end_ns: int


def timeline(samples: Samples, requests: Requests) -> Timeline:
    """The timeline of one deployment, including warm-ups and the time between and after stages."""
    blocks = samples.series("kv_blocks_max")[1]
    gone = np.sort(requests.done_ns[(requests.done_ns != MISSING) & cancelled_as_planned(requests)])
    shown = gone[np.unique(np.linspace(0, len(gone) - 1, _POINTS).round().astype(int))] if len(gone) else gone
    readings = [samples.series(name)[0] for name in ("kv_blocks_used", "inflight_scheduled_requests")]
    return Timeline(
        kv_blocks_max=int(blocks[-1]) if len(blocks) and blocks[-1] > 0 else None,
        free_blocks=Curve.of(samples.series("kv_blocks_free")),
        reused_blocks=Curve.of(samples.series("kv_blocks_reused")),
        paused=Curve.of(samples.series("inflight_paused_requests")),
        cancels_ns=tuple(int(instant) for instant in shown),
        end_ns=max((int(times[-1]) for times in readings if len(times)), default=0),
    )
