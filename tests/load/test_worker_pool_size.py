from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.load.worker_pool_size import COMFORTABLE_CORES, SATURATED_CORES, workers_for_cores, workers_for_streams


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
