"""The course over time: no peak and no trough is lost, and cancels are where they were."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import MS, S, columns, request_of, samples_of
from trtbench.analysis.timeline import Curve, timeline
from trtbench.rundir.records import Outcome, RequestRecord


def gone(at_ns: int, planned: bool = True) -> RequestRecord:
    record = request_of(0, [at_ns], Outcome.CANCELLED)
    record.planned_cancel = planned
    return record


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.integers(1, 50))
def test_a_curve_holds_every_reading(values: list[float], points: int) -> None:
    series = (np.arange(len(values), dtype=np.int64) * MS, np.array(values, float))
    found = Curve.of(series, points)
    assert len(found.time_ns) == min(points, len(values))
    bins = np.searchsorted(found.time_ns, series[0], "right") - 1
    for value, place in zip(values, bins.tolist(), strict=True):
        assert found.low[place] <= value <= found.value[place]
    assert sorted({*found.low, *found.value}) == sorted({*found.low, *found.value} & set(values)), "nothing is made up"
    if len(values) <= points:
        assert found.low == found.value == tuple(values)


def test_one_peak_and_one_trough_of_a_long_run_are_kept() -> None:
    values = {777: 9.0, 4321: 0.0}
    series = samples_of({("x", ""): [(i, values.get(i, 5.0)) for i in range(10_000)]}).series("x")
    found = Curve.of(series)
    assert len(found.time_ns) == 400
    assert (max(found.value), min(found.low)) == (9.0, 0.0)
    assert found.value[777 // 25] == 9.0 and found.low[4321 // 25] == 0.0


def test_the_course_of_a_deployment() -> None:
    every = [(i * S, float(i)) for i in range(5)]
    samples = samples_of(
        {
            ("kv_blocks_max", ""): [(0, 60)],
            ("kv_blocks_used", ""): every,
            ("kv_blocks_free", ""): [(at, 60 - used) for at, used in every],
            ("inflight_scheduled_requests", ""): [*every, (9 * S, 0)],
        }
    )
    found = timeline(samples, columns([gone(3 * S), gone(S), gone(2 * S, planned=False), request_of(0, [S])]))
    assert found.kv_blocks_max == 60
    assert found.free_blocks.low == (60, 59, 58, 57, 56)
    assert found.reused_blocks == found.paused == Curve((), (), ())
    assert found.cancels_ns == (S, 3 * S)
    assert found.end_ns == 9 * S


def test_many_cancels_are_thinned_from_end_to_end() -> None:
    found = timeline(samples_of({}), columns([gone(i * MS + 1) for i in range(5000)]))
    assert len(found.cancels_ns) == 400
    assert (found.cancels_ns[0], found.cancels_ns[-1]) == (1, 4999 * MS + 1)
    assert found.kv_blocks_max is None
