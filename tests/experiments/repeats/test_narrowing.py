"""When rounds end: the width of an interval, and the share of runs in which an interval that ended them contains the truth."""

from __future__ import annotations

import numpy as np
import pytest

from trtbench.analysis.stats.estimate import t_975
from trtbench.experiments.repeats.analysis import relative_width, widths
from trtbench.experiments.repeats.spec import LEAST_BEFORE_STOP


def test_the_width_is_that_of_students_interval_as_a_share_of_the_mean() -> None:
    mean, width = relative_width([99.0, 100.0, 101.0])
    assert mean == 100
    assert width == pytest.approx(2 * 4.303 / 3**0.5 / 100)  # t for 2 degrees of freedom, standard deviation 1


@pytest.mark.parametrize("values", [[], [1.0], [1.0, None], [-1.0, 1.0]])
def test_a_width_that_is_not_known_is_none(values: list[float | None]) -> None:
    assert relative_width(values)[1] is None


def test_a_figure_that_is_the_same_in_every_round_has_no_width() -> None:
    assert relative_width([3.0, 3.0, 3.0]) == (3.0, 0.0)


def test_a_place_without_one_of_the_rounds_is_not_narrow() -> None:
    found = widths({("d", "c1"): [1.0, 1.0, 1.0], ("d", "c4"): [1.0, 1.0]}, 3)
    assert [(one.stage, one.relative_width) for one in found] == [("c1", 0.0), ("c4", None)]


def test_an_interval_that_ended_the_rounds_still_contains_the_mean_in_nine_of_ten_runs() -> None:
    """The table in docs/repeats.md: stopping as soon as an interval is narrow favours intervals that are narrow by chance."""
    assert coverage(LEAST_BEFORE_STOP, 0.01) > 0.94
    assert 0.90 < coverage(LEAST_BEFORE_STOP, 0.05) < 0.94
    assert coverage(2, 0.05) < 0.90, "which is why two rounds are not the default"


def coverage(least: int, variation: float, most: int = 30, bound: float = 0.05, runs: int = 4000) -> float:
    """The share of simulated runs whose last interval contains the mean. `variation`: standard deviation of a round / mean."""
    values = 1 + variation * np.random.default_rng(1).standard_normal((runs, most))
    count = np.arange(1, most + 1)
    mean = values.cumsum(1) / count
    deviation = np.sqrt(np.maximum((values**2).cumsum(1) - count * mean**2, 0) / np.maximum(count - 1, 1))
    half_width = np.array([t_975(max(n - 1, 1)) for n in count]) * deviation / np.sqrt(count)
    stops = 2 * half_width / mean <= bound
    stops[:, : least - 1], stops[:, -1] = False, True
    last = stops.argmax(1), np.arange(runs)
    return float((abs(mean[last[1], last[0]] - 1) <= half_width[last[1], last[0]]).mean())
