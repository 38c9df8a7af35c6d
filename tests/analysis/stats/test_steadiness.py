"""Planted changes are found, and steady series raise no more than 5 % false alarms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.queues import closed_loop_times, mm1_times, planted
from trtbench.analysis.stats.steadiness import Steadiness, steadiness

Floats = npt.NDArray[np.float64]
NS = 1e9


def kinds(draw: Callable[[np.random.Generator], Floats], times: int, alike: float = 1.0) -> list[str]:
    random = np.random.default_rng(7)
    found = [steadiness(NS * draw(random), alike) for _ in range(times)]
    return ["none" if one is None else one.kind for one in found]


def false_alarms(draw: Callable[[np.random.Generator], Floats], alike: float = 1.0) -> float:
    found = kinds(draw, 400, alike)
    return sum(kind not in ("steady", "unknown", "none") for kind in found) / len(found)


@pytest.mark.parametrize("count", [40, 100, 300, 500, 1000, 3000])
@pytest.mark.parametrize("utilisation", [0.3, 0.8])
def test_poisson_arrivals_at_a_queue_are_steady(count: int, utilisation: float) -> None:
    assert false_alarms(lambda random: mm1_times(count, utilisation, random), utilisation / (1 - utilisation)) <= 0.05


@pytest.mark.parametrize(("count", "users"), [(40, 1), (40, 8), (100, 4), (100, 32), (1000, 8), (3000, 32)])
def test_closed_loops_are_steady(count: int, users: int) -> None:
    assert false_alarms(lambda random: closed_loop_times(count, users, random), users) <= 0.05


@pytest.mark.parametrize(
    ("planted_kind", "kind"),
    [("ramp-up of a fifth", "warm_up"), ("warm-up of a fifth", "warm_up"), ("slow-down", "trend"), ("step", "step"), ("late step", "step")],
)
@pytest.mark.parametrize(("count", "variation"), [(100, 0.05), (300, 0.2), (1000, 0.2)])
def test_a_planted_change_is_found(planted_kind: str, kind: str, count: int, variation: float) -> None:
    found = kinds(lambda random: planted(planted_kind, count, variation, random), 40)
    assert np.mean([one not in ("steady", "unknown") for one in found]) >= 0.95
    assert np.mean([one == kind for one in found]) >= 0.8


def test_what_changed_is_said_with_its_interval() -> None:
    random = np.random.default_rng(3)
    for kind, change, at in (("step", 0.3, 0.5), ("late step", 0.5, 0.9), ("slow-down", 0.5, None)):
        found = steadiness(NS * planted(kind, 1000, 0.1, random))
        assert found and found.changed and found.at == at
        assert found.change_ratio is not None and found.lower is not None and found.upper is not None
        assert found.change_ratio == pytest.approx(change, rel=0.15)
        assert found.lower < found.change_ratio < found.upper


def test_little_is_not_judged() -> None:
    assert steadiness(np.ones(39)) is None
    assert steadiness(np.ones(40), alike=32) is None, "fewer than three rounds of a closed loop"
    assert steadiness(np.ones(100)) == Steadiness("steady")
    random = np.random.default_rng(3)
    small = NS * (1 + 0.03 * (np.arange(1000) > 500)) * np.exp(random.normal(size=1000) * 0.01)
    assert steadiness(small) == Steadiness("steady"), "a change of 3 % is left out"
