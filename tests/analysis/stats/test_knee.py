from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.analysis.stats.knee import find_knee


@pytest.mark.parametrize(
    ("points", "level"),
    [
        ([(1, 50), (2, 100), (4, 200)], None),  # linear
        ([(1, 50), (2, 100), (4, 200), (8, 201), (16, 202)], 4),
        ([(1, 100), (2, 99), (4, 60)], 1),  # falls from the start
        ([(1, 50), (2, 51), (4, 200), (8, 201)], 4),  # a flat step before a rise is no knee
        ([(8, 201), (1, 50), (4, 200), (2, 100)], 4),  # order does not matter
    ],
)
def test_where_another_user_no_longer_pays(points: list[tuple[float, float]], level: float | None) -> None:
    knee = find_knee(points)
    assert knee is not None and knee.level == level
    assert knee.throughput == (dict(points)[level] if level else None)


@pytest.mark.parametrize("points", [[], [(1, 10), (2, 20)], [(1, 10), (2, 20), (2, 30)], [(1, 0), (2, 10), (4, 20)]])
def test_too_little_to_tell(points: list[tuple[float, float]]) -> None:
    assert find_knee(points) is None


@given(st.floats(1.5, 64), st.integers(3, 9))
def test_a_server_of_fixed_capacity_has_its_knee_there(capacity_users: float, steps: int) -> None:
    levels = [2.0**i for i in range(steps)]
    knee = find_knee([(n, 10 * min(n, capacity_users)) for n in levels])
    assert knee is not None
    beyond = [n for n in levels if capacity_users / n < 2**0.1]  # from here on a doubling gains under 7 %
    if len(beyond) >= 2:
        assert knee.level == pytest.approx(beyond[0])
    elif capacity_users > levels[-1]:
        assert knee.level is None
