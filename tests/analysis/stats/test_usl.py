"""The law by users on planted truths: exact ones are found, noisy ones are inside their intervals as often as promised."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from trtbench.analysis.stats.usl import Bounds, UserLaw, fit_user_law

LEVELS = (1, 2, 4, 8, 16, 32, 64)


def throughput(users: float, contention: float, coherency: float) -> float:
    return 100 * users / (1 + contention * (users - 1) + coherency * users * (users - 1))


def fitted(contention: float, coherency: float, levels: tuple[int, ...] = LEVELS, noise: float = 0.0, seed: int = 0) -> UserLaw:
    draw = np.random.default_rng(seed)
    law = fit_user_law([(n, throughput(n, contention, coherency) * (1 + noise * draw.standard_normal())) for n in levels])
    assert law is not None
    return law


def holds(bounds: Bounds | None, value: float) -> bool:
    return bounds is not None and bounds.low - 1e-9 <= value <= (np.inf if bounds.high is None else bounds.high)


@pytest.mark.parametrize(("contention", "coherency"), [(0.05, 0.0005), (0.2, 0.002), (0.0, 0.001)])
def test_exact_throughputs_give_the_exact_law_and_its_peak(contention: float, coherency: float) -> None:
    law = fitted(contention, coherency)
    assert law.law.contention == pytest.approx(contention, abs=1e-6)
    assert law.law.coherency == pytest.approx(coherency, rel=1e-6)
    assert law.law.peak_units == pytest.approx(sqrt((1 - contention) / coherency), rel=1e-6)
    assert law.is_usable and law.peak_users and law.peak_users.high == pytest.approx(law.peak_users.low, rel=1e-4)


def test_a_law_without_a_peak_states_none() -> None:
    law = fitted(0.1, 0.0)
    assert law.peak_users is None and not law.is_usable


@pytest.mark.parametrize(("contention", "coherency"), [(0.05, 0.0005), (0.2, 0.002), (0.0, 0.001), (0.05, 0.0)])
def test_intervals_hold_the_truth_as_often_as_they_promise(contention: float, coherency: float) -> None:
    """100 draws with 2 % noise: 95 % and three standard errors of such a share."""
    laws = [fitted(contention, coherency, noise=0.02, seed=seed) for seed in range(100)]
    assert sum(holds(law.contention, contention) for law in laws) >= 88
    assert sum(holds(law.coherency, coherency) for law in laws) >= 88
    if coherency:
        peak = sqrt((1 - contention) / coherency)
        stated = [law for law in laws if law.is_usable]
        assert len(stated) >= 75 and sum(holds(law.peak_users, peak) for law in stated) >= 0.88 * len(stated)
    else:
        assert sum(law.is_usable for law in laws) <= 3, "a peak that is not there"


def test_four_levels_give_no_peak() -> None:
    assert not any(fitted(0.2, 0.02, (1, 2, 4, 8), 0.01, seed).is_usable for seed in range(100))


def test_a_peak_far_beyond_the_highest_level_is_not_stated() -> None:
    law = fitted(0.02, 1e-5, (1, 2, 3, 4, 6, 8))
    assert law.law.peak_units and law.law.peak_units > 300 and not law.is_usable


def test_three_levels_are_too_few() -> None:
    assert fit_user_law([(1, 10), (2, 19), (4, 33)]) is None
