"""The Universal Scalability Law is found again from points that follow it, and is not fitted to too few."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from trtbench.experiments.scaling.scalability_law import fit_law

SIZES = (1, 2, 4, 8, 16)


def law_points(unit: float, contention: float, coherency: float) -> list[tuple[float, float]]:
    return [(float(n), unit * n / (1 + contention * (n - 1) + coherency * n * (n - 1))) for n in SIZES]


@given(unit=st.floats(0.1, 1e5), contention=st.floats(0, 0.9), coherency=st.floats(0, 0.1))
def test_planted_coefficients_are_found(unit: float, contention: float, coherency: float) -> None:
    law = fit_law(law_points(unit, contention, coherency))
    assert law is not None
    assert law.unit_throughput == pytest.approx(unit, rel=1e-5)
    assert law.contention == pytest.approx(contention, abs=1e-5)
    assert law.coherency == pytest.approx(coherency, abs=1e-6)
    assert law.residual_ratio < 1e-5


@given(st.lists(st.floats(0.5, 2), min_size=len(SIZES), max_size=len(SIZES)))
def test_the_fit_is_that_of_non_negative_least_squares(ratios: list[float]) -> None:
    points = [(n, n * ratio) for n, ratio in zip(SIZES, ratios, strict=True)]
    n, x = np.array(points, float).T
    share = x / n
    (inverse, contended, coherent), _ = nnls(np.column_stack([share, share * (n - 1), share * n * (n - 1)]), np.ones(len(n)))
    law = fit_law(points)
    assert law is not None and law.unit_throughput == pytest.approx(1 / inverse, rel=1e-6)
    assert law.contention == pytest.approx(contended / inverse, rel=1e-6, abs=1e-6)
    assert law.coherency == pytest.approx(coherent / inverse, rel=1e-6, abs=1e-6)


def test_the_peak_is_where_more_units_give_less() -> None:
    law = fit_law(law_points(100, 0.1, 0.01))
    assert law is not None and law.peak_units == pytest.approx(sqrt(0.9 / 0.01))
    assert law.at(9) > max(law.at(11), law.at(8))


def test_linear_points_have_no_contention_and_no_peak() -> None:
    law = fit_law(law_points(100, 0, 0))
    assert law is not None
    assert (law.contention, law.coherency, law.peak_units) == (pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9), None)


def test_more_than_linear_is_not_taken_for_negative_contention() -> None:
    law = fit_law([(1, 10), (2, 24), (4, 52), (8, 110)])
    assert law is not None and (law.contention, law.coherency) == (0, 0)
    assert law.residual_ratio > 0.05


@pytest.mark.parametrize(
    "points", [[], [(1, 5)], [(1, 5), (2, 9), (4, 15)], [(1, 5), (1, 5.1), (2, 9), (4, 15)], [(1, 5), (2, 9), (3, 0), (4, 1)]]
)
def test_too_few_points_have_no_law(points: list[tuple[float, float]]) -> None:
    assert fit_law(points) is None
