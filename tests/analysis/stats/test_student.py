"""Student's t, compared with SciPy."""

from __future__ import annotations

import pytest

from trtbench.analysis.stats.student import t_quantile


@pytest.mark.parametrize("freedom", [2, 3, 7, 30, 200])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.975, 0.9995, 1 - 1e-6])
def test_quantiles_are_those_of_scipy(level: float, freedom: int) -> None:
    from scipy import stats  # a second, which only the process that runs this spends

    assert t_quantile(level, freedom) == pytest.approx(stats.t.ppf(level, freedom), rel=1e-3, abs=1e-9)
    assert t_quantile(1 - level, freedom) == pytest.approx(-t_quantile(level, freedom), rel=1e-6)


def test_many_degrees_count_as_400() -> None:
    assert t_quantile(0.975, 10_000) == t_quantile(0.975, 400) == pytest.approx(1.96, rel=0.004)
