"""The knee of a curve, and how much it depends on chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.analysis.stats.knee import Knee, LoadPoint, find_knee


def of(points: Sequence[tuple[float, float]]) -> Knee | None:
    return find_knee([LoadPoint(level, rate) for level, rate in points])


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
    knee = of(points)
    assert knee is not None and knee.level == level
    assert knee.throughput == (dict(points)[level] if level else None)


@pytest.mark.parametrize("points", [[], [(1, 10), (2, 20)], [(1, 10), (2, 20), (2, 30)], [(1, 0), (2, 10), (4, 20)]])
def test_too_few_points_have_no_knee(points: list[tuple[float, float]]) -> None:
    assert of(points) is None


@given(st.floats(1.5, 64), st.integers(3, 9))
def test_a_server_of_fixed_capacity_has_its_knee_there(capacity_users: float, steps: int) -> None:
    levels = [2.0**i for i in range(steps)]
    knee = of([(n, 10 * min(n, capacity_users)) for n in levels])
    assert knee is not None
    beyond = [n for n in levels if capacity_users / n < 2**0.1]  # from here on a doubling gains under 7 %
    if len(beyond) >= 2:
        assert knee.level == pytest.approx(beyond[0])
    elif capacity_users > levels[-1]:
        assert knee.level is None


def noisy(points: Sequence[tuple[float, float]], deviation: float, seed: int = 1) -> Knee:
    random = np.random.default_rng(seed)
    blocks = [tuple((rate * random.lognormal(0, deviation, 10)).tolist()) for _, rate in points]
    knee = find_knee([LoadPoint(level, rate, block) for (level, rate), block in zip(points, blocks, strict=True)])
    assert knee and knee.shares and sum(knee.shares.values()) == pytest.approx(1)
    return knee


def test_a_clear_knee_is_in_all_resamples_and_a_doubtful_one_is_not() -> None:
    clear = [(1.0, 50.0), (2.0, 95.0), (4.0, 150.0), (8.0, 152.0)]
    assert noisy(clear, 0.01).shares == {"4": 1.0}
    close = noisy([(1.0, 50.0), (2.0, 95.0), (4.0, 150.0), (8.0, 158.0)], 0.1)  # the last step pays 7 %, within 10 % / sqrt(10)
    assert close.level == 4 and close.shares and set(close.shares) == {"4", "none"}
    assert close.agreement == close.shares["4"] < 0.9


def test_shares_need_the_blocks_of_every_level() -> None:
    points = [LoadPoint(1, 50, (50, 50)), LoadPoint(2, 95, (95, 95)), LoadPoint(4, 150)]
    knee = find_knee(points)
    assert knee and knee.shares is None and knee.agreement is None
