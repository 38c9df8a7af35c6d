from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.plan.draws.arrivals import Offsets
from trtbench.plan.draws.user_schedule import user_windows

ends = st.tuples(st.integers(0, 300), st.integers(0, 300)).filter(lambda both: both[0] != both[1])
steps = st.none() | st.integers(2, 20)
spans = st.floats(0.1, 10_000)


def present(windows: Offsets, instant_ns: float) -> int:
    enter, leave = windows.T
    return int(((enter <= instant_ns) & ((leave == -1) | (leave > instant_ns))).sum())


@given(ends, steps, spans)
def test_users_go_from_the_first_number_to_the_last(both: tuple[int, int], steps: int | None, over_s: float) -> None:
    first, last = both
    windows = user_windows(first, last, steps, over_s)
    assert windows.dtype == np.int64 and windows.shape == (max(both), 2)
    assert present(windows, 0) == first
    assert present(windows, over_s * 1e9) == last
    seen = [present(windows, share * over_s * 1e9) for share in np.linspace(0, 1, 50)]
    assert seen == sorted(seen, reverse=first > last)


@given(ends, spans)
def test_a_line_has_its_mean_number_of_users(both: tuple[int, int], over_s: float) -> None:
    enter, leave = user_windows(*both, None, over_s).T / 1e9
    there_s = np.where(leave < 0, over_s, leave) - enter
    assert there_s.sum() / over_s == pytest.approx(sum(both) / 2)


def test_stairs_up() -> None:
    windows = user_windows(1, 4, 3, 30)  # 1, 2.5 -> 3, 4
    assert windows.tolist() == [[0, -1], [10 * 10**9, -1], [10 * 10**9, -1], [20 * 10**9, -1]]


def test_the_last_to_come_leave_first() -> None:
    assert user_windows(4, 1, 4, 40).tolist() == [[0, -1], [0, 30 * 10**9], [0, 20 * 10**9], [0, 10 * 10**9]]


def test_ten_to_a_thousand_in_ten_steps() -> None:
    windows = user_windows(10, 1000, 10, 600)
    assert [present(windows, second * 1e9) for second in (0, 59.9, 60, 120, 540, 1e6)] == [10, 10, 120, 230, 1000, 1000]
