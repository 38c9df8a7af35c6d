from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.plan.arrivals import Offsets
from trtbench.plan.phases import draw_offsets, draw_users, fit_units, user_windows, with_think_times
from trtbench.plan.plan import PlannedPrompt
from trtbench.scenario.load.stage import Stage

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


def stage(**keys: Any) -> Stage:
    return Stage.model_validate(keys)


def prompts(*turns: int) -> tuple[PlannedPrompt, ...]:
    return tuple(PlannedPrompt(np.array([1], np.int32), 1, number, think_ns=turn, turn=turn) for number, turn in enumerate(turns))


OPEN = {
    "constant": stage(mode="constant", rate=20, duration_s=10),
    "poisson": stage(mode="poisson", rate=20, duration_s=10),
    "gamma": stage(mode="gamma", rate=20, burstiness=0.5, duration_s=10),
    "ramp": stage(mode="poisson", rate={"from": 0, "to": 40}, duration_s=10),
    "held ramp": stage(mode="constant", rate={"from": 10, "to": 25, "over_s": 6}, duration_s=10),
    "stairs": stage(mode="gamma", burstiness=2, rate={"from": 10, "to": 30, "steps": 3}, duration_s=10),
    "bursts": stage(mode="burst", rate=100, on_s=0.5, off_s=2, duration_s=10),
    "even bursts": stage(mode="burst", rate=100, on_s=0.5, off_s=2, gaps="constant", duration_s=10),
}


@pytest.mark.parametrize("asked", OPEN.values(), ids=OPEN)
def test_every_open_loop_sends_about_what_is_asked(asked: Stage) -> None:
    offsets = draw_offsets(asked, False, 3)
    assert offsets is not None
    assert len(offsets) == pytest.approx(205 if asked.label == "constant-10-25" else 200, abs=50)
    assert offsets[-1] < 10e9
    again, other = draw_offsets(asked, False, 3), draw_offsets(asked, False, 4)
    assert again is not None and again.tolist() == offsets.tolist()
    even = asked.mode == "constant" or asked.gaps == "constant"
    assert other is not None and (other.tolist() == offsets.tolist()) == even


@pytest.mark.parametrize("asked", OPEN.values(), ids=OPEN)
def test_a_warmup_has_its_count_and_its_own_arrivals(asked: Stage) -> None:
    warm = asked.model_copy(update={"warmup_requests": 7})
    offsets, measured = draw_offsets(warm, True, 3), draw_offsets(warm, False, 3)
    assert offsets is not None and measured is not None
    assert len(offsets) == 7
    even = asked.mode == "constant" or asked.gaps == "constant"
    assert (offsets.tolist() == measured[:7].tolist()) == even


def test_closed_loops_have_users() -> None:
    assert draw_offsets(stage(concurrency=4, requests=1), False, 1) is None
    assert draw_users(stage(concurrency=4, requests=1)) is None
    windows = draw_users(stage(concurrency={"from": 2, "to": 4, "over_s": 4}, duration_s=10))
    assert windows is not None
    assert windows.tolist() == [[0, -1], [0, -1], [1 * 10**9, -1], [3 * 10**9, -1]]


def test_think_times_precede_first_turns() -> None:
    asked = stage(concurrency=1, requests=5, think_s=2)
    assert [prompt.think_ns for prompt in with_think_times(prompts(0, 1, 2, 0, 0), asked, False, 1)] == [
        2 * 10**9,
        1,
        2,
        2 * 10**9,
        2 * 10**9,
    ]
    drawn = stage(concurrency=1, requests=5, think_s={"mean": 2, "distribution": "exponential"})
    pauses = [prompt.think_ns for prompt in with_think_times(prompts(*[0] * 50), drawn, False, 1)]
    assert len(set(pauses)) == 50
    assert [prompt.think_ns for prompt in with_think_times(prompts(*[0] * 5), drawn, False, 1)] == pauses[:5]


def test_sessions_and_their_arrivals_are_fitted() -> None:
    sessions, offsets = prompts(0, 1, 0, 0, 1, 2), np.arange(5, dtype=np.int64)
    kept, due = fit_units(sessions, offsets, counted=True)
    assert (len(kept), due.tolist()) == (6, [0, 1, 2])
    kept, due = fit_units(sessions, offsets, counted=False)
    assert (len(kept), due.tolist()) == (6, [0, 1, 2, 3, 4])
    kept, due = fit_units(sessions, offsets[:2], counted=True)
    assert ([prompt.turn for prompt in kept], due.tolist()) == ([0, 1, 0], [0, 1])
