"""Readings of a server's counters that may lack requests which had completed, and the samples without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from trtbench.analysis.stage.engine_times import ENGINE_COUNTERS
from trtbench.rundir.event_kinds import StageFinished
from trtbench.rundir.events import every
from trtbench.rundir.records import Event
from trtbench.rundir.samples import Samples
from trtbench.rundir.series import SeriesName

_STATISTICS: tuple[SeriesName, ...] = (
    *("triton_inference_count", "triton_execution_count", "triton_success_count", "triton_fail_count", "triton_batch_executions"),
    *("triton_queue_ns", "triton_compute_input_ns", "triton_compute_infer_ns", "triton_compute_output_ns"),
    *("response_cache_hit_count", "response_cache_hit_ns", "response_cache_miss_count", "response_cache_miss_ns"),
    "replica_success_count",
)


def without_late_counts(samples: Samples, events: Sequence[Event]) -> Samples:
    """The samples without the readings of the server's counters that were taken between a stage's first or last request and the nearest
    border.

    Triton counts a batch after its answers have left, and a slow reading is older than its timestamp. Only the readings at the borders are
    known to include everything that had completed.
    """
    samples = _without_late(samples, events, "triton_success_count", _STATISTICS)
    return _without_late(samples, events, "engine_requests", ENGINE_COUNTERS)


def _without_late(samples: Samples, events: Iterable[Event], counter: SeriesName, names: tuple[SeriesName, ...]) -> Samples:
    times, _ = samples.series(counter)
    late = np.zeros(len(times), np.bool_)
    for stage in every(events, StageFinished):
        if stage.counted_from_ns is not None:
            late |= (times > stage.counted_from_ns) & (times <= stage.start_ns)
        if stage.counted_to_ns is not None:
            late |= (times >= stage.end_ns) & (times < stage.counted_to_ns)
    return samples.without(names, times[late]) if late.any() else samples
