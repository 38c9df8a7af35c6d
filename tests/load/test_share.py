from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.load.share import COMFORTABLE_CORES, SATURATED_CORES, Share, planned_units, users, workers_for_cores, workers_for_streams
from trtbench.plan.plan import Phase, PlannedPrompt
from trtbench.scenario.load.stage import Stage


@pytest.mark.parametrize(("streams", "workers"), [(0, 1), (1, 1), (2000, 1), (2001, 2), (10_000, 5)])
def test_by_streams(streams: int, workers: int) -> None:
    assert workers_for_streams(streams) == workers


@pytest.mark.parametrize(
    ("workers", "cores", "growth", "most", "wanted"),
    [
        (1, 0.05, 1, 8, 1),
        (1, 0.05, 100, 8, 1),  # a hundred times the users: not a hundred times the responses
        (1, 0.4, 2, 8, 2),
        (1, 0.4, 0.1, 8, 1),
        (1, 0.95, 1, 8, 4),  # saturated: what it wanted is unknown
        (2, 1.8, 1, 8, 6),
        (1, 0.95, 1, 2, 2),
        (4, 0.1, 1, 8, 4),  # those that are there stay
        (4, 4.0, 1, 2, 4),
    ],
)
def test_by_cores(workers: int, cores: float, growth: float, most: int, wanted: int) -> None:
    assert workers_for_cores(workers, cores, growth, most) == wanted


@given(st.integers(1, 16), st.floats(0, 16), st.floats(0, 10), st.integers(1, 64))
def test_never_fewer_and_room_enough_where_the_machine_has_it(workers: int, cores: float, growth: float, most: int) -> None:
    wanted = workers_for_cores(workers, cores, growth, most)
    assert wanted >= workers
    if most >= 1000 and cores < SATURATED_CORES * workers:
        assert cores <= COMFORTABLE_CORES * wanted + 1e-9


def phase(turns: list[int], stage: dict[str, object], units: int | None = None) -> Phase:
    """Sessions of so many turns; `units`: of an open loop."""
    ids = np.array([1], np.int32)
    prompts = tuple(PlannedPrompt(ids, 1, 1, session=number, turn=turn) for number, count in enumerate(turns) for turn in range(count))
    return Phase(Stage.model_validate(stage), False, prompts, 0, None if units is None else np.arange(units, dtype=np.int64))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(1, 6), st.integers(0, 40))
def test_units_of_an_open_loop_are_shared_without_gap_or_overlap(turns: list[int], workers: int, units: int) -> None:
    plan = phase(turns, {"mode": "constant", "rate": 1, "duration_s": 1}, units)
    shares = [Share(worker, workers).of(plan) for worker in range(workers)]
    taken = [unit for share in shares if share for unit in share.units(plan)]
    assert sorted(taken) == list(range(units))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(1, 9), st.integers(1, 20))
def test_a_closed_loop_is_shared_by_units_and_by_users(turns: list[int], workers: int, concurrency: int) -> None:
    plan = phase(turns, {"concurrency": concurrency, "requests": sum(turns)})
    shares = [share for worker in range(workers) if (share := Share(worker, workers).of(plan))]
    assert sorted(unit for share in shares for unit in share.units(plan)) == list(range(len(turns)))
    assert sorted(user for share in shares for user in share.of_range(users(plan))) == list(range(min(concurrency, len(turns))))
    assert all(share.of_range(users(plan)) for share in shares)  # nobody has units and no user to send them


@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 30))
def test_prompts_of_a_loop_by_time_are_all_that_the_share_can_come_to(prompts: int, workers: int, taken: int) -> None:
    plan = phase([1] * prompts, {"concurrency": 9, "duration_s": 1})
    assert planned_units(plan) is None
    for worker in range(workers):
        share = Share(worker, workers)
        units = share.units(plan)
        assert {next(units) % prompts for _ in range(taken)} <= share.prompts(plan)
