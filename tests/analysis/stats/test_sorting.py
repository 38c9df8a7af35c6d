"""Large arrays are sorted exactly, whatever their values are."""

from __future__ import annotations

import numpy as np
import pytest

from trtbench.analysis.stats.sorting import sort_in_place

_LARGE = (1 << 20) + 12_345
_LEAST, _MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (0, 2**32 - 1), (-(2**31), 2**31 - 1), (10**18, 10**18 + 2**32 - 1), (0, 2**32), (_LEAST, _MOST)],
    ids=["two values", "32 bits", "negative", "instants", "just over 32 bits", "64 bits"],
)
@pytest.mark.parametrize("count", [0, 1, 1000, _LARGE])
def test_values_of_any_width_are_sorted_exactly(low: int, high: int, count: int) -> None:
    values = np.random.default_rng(1).integers(low, high, count, endpoint=True)
    values[:2] = (high, low)[: len(values)]
    expected = np.sort(values)
    sort_in_place(values)
    assert np.array_equal(values, expected)


def test_every_second_value_of_an_array_is_sorted_where_it_is() -> None:
    values = np.arange(2 * _LARGE)[::-1].copy()
    odd, expected = values[1::2].copy(), np.sort(values[::2])
    sort_in_place(values[::2])
    assert np.array_equal(values[::2], expected)
    assert np.array_equal(values[1::2], odd)
