from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import samples_of
from trtbench.analysis.stats.window import Level, border_readings, gpu_memory, increase, inside, rise
from trtbench.rundir.samples import Series


def series(*points: tuple[int, float]) -> Series:
    return np.array([t for t, _ in points], np.int64), np.array([v for _, v in points], np.float64)


COUNTER = series((10, 5), (20, 7), (30, 12), (40, 20))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (10, 40, 15),  # readings at both borders
        (15, 25, 7),  # last before the start (5), first after the end (12)
        (20, 20, 0),
        (35, 99, 8),  # the end was never read: the last stands for it
        (99, 120, 0),
        (5, 40, None),  # the start was never read
    ],
)
def test_increase_between_borders(start: int, end: int, expected: float | None) -> None:
    assert increase(COUNTER, start, end) == expected


def test_a_counter_that_begins_anew_counts_from_zero() -> None:
    assert increase(series((0, 100), (10, 130), (20, 4), (30, 9)), 0, 30) == 30 + 9


def test_a_counter_that_appears_later_was_zero_and_is_not_counted_before_it_appears() -> None:
    late = series((100, 3), (110, 5))
    assert rise(late, 0, 50) == 0
    assert rise(late, 0, 100) == 3
    assert rise(series(), 0, 100) == 0


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40), st.data())
def test_adjacent_windows_add_up(steps: list[int], data: st.DataObject) -> None:
    counter = series(*[(10 * i, float(sum(steps[: i + 1]))) for i in range(len(steps))])
    cut = 10 * data.draw(st.integers(0, len(steps) - 1))
    end = 10 * (len(steps) - 1)
    whole, left, right = (increase(counter, a, b) for a, b in ((0, end), (0, cut), (cut, end)))
    assert whole is not None and left is not None and right is not None
    assert whole == left + right == sum(steps[1:])


def test_borders_are_the_readings_that_are_subtracted() -> None:
    assert border_readings(COUNTER, 15, 25) == (10, 30)
    assert border_readings(COUNTER, 5, 25) is None


def test_inside_takes_both_ends() -> None:
    assert inside(COUNTER, 20, 30).tolist() == [7, 12]
    assert Level.of(inside(COUNTER, 20, 30)) == Level(9.5, 7, 12)
    assert Level.of(inside(COUNTER, 21, 29)) is None


def test_memory_of_several_gpus_begins_when_all_were_read() -> None:
    """The sampler reads one after another, so that the first reading of the first is alone."""
    of = {"0": [(10, 5.0), (20, 6.0), (30, 7.0)], "1": [(11, 50.0), (21, 60.0), (31, 70.0)]}
    times, total = gpu_memory(samples_of({("gpu_memory_used_bytes", gpu): points for gpu, points in of.items()}))
    assert (times.tolist(), total.tolist()) == ([20, 30], [56.0, 67.0])
    times, total = gpu_memory(samples_of({("gpu_memory_used_bytes", "0"): of["0"]}))
    assert (times.tolist(), total.tolist()) == ([10, 20, 30], [5.0, 6.0, 7.0])
    assert not len(gpu_memory(samples_of({}))[0])
