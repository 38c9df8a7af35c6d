"""The least-squares line, against SciPy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trtbench.analysis.stats.line import fit_line

points = st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=3, max_size=32).filter(
    lambda pairs: all(len(set(column)) > 1 for column in zip(*pairs, strict=True))
)


@given(points)
def test_the_line_is_that_of_linear_regression(pairs: list[tuple[int, int]]) -> None:
    x, y = zip(*pairs, strict=True)
    line, expected = fit_line(x, y), stats.linregress(x, y)
    assert line.slope == pytest.approx(expected.slope, rel=1e-6, abs=1e-6)
    assert line.intercept == pytest.approx(expected.intercept, rel=1e-6, abs=1e-5)
    assert line.half_width == pytest.approx(stats.t.ppf(0.975, len(x) - 2) * expected.stderr, rel=3e-4, abs=1e-4)
    assert line.explained_ratio == pytest.approx(expected.rvalue**2, abs=1e-6)


def test_where_y_does_not_vary_nothing_is_explained() -> None:
    line = fit_line([0, 1, 2], [0, 0, 0])
    assert (line.slope, line.half_width, line.explained_ratio) == (0, 0, None)
