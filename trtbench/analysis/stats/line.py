"""A straight line by least squares, and how well it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.stats.estimate import t_975


@dataclass(frozen=True, slots=True)
class Line:
    """y = intercept + slope x. `half_width`: of the 95 % interval around the slope. `explained_ratio`: R squared, None where y does
    not vary."""

    intercept: float
    slope: float
    half_width: float
    explained_ratio: float | None


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Of three points or more, at two different x or more: two points lie on a line whatever they are."""
    xs, ys = np.array(x, float), np.array(y, float)
    slope, intercept = np.polyfit(xs, ys, 1)
    left = float(((ys - slope * xs - intercept) ** 2).sum())
    spread_x, spread_y = (float(((values - values.mean()) ** 2).sum()) for values in (xs, ys))
    error = (left / (len(xs) - 2) / spread_x) ** 0.5
    return Line(float(intercept), float(slope), t_975(len(xs) - 2) * error, 1 - left / spread_y if spread_y > 0 else None)
