"""How the cost of a prompt grows with its length: a power law for what grows from nothing, a line for what begins at a base."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from trtbench.analysis.stats.line import fit_line

CostFigure = Literal["ttft_ns", "kv_used_blocks_peak", "server_rss_bytes_peak", "gpu_memory_bytes_peak"]
_FEWEST_LENGTHS = 3


@dataclass(frozen=True, slots=True)
class Growth:
    """Least squares over so many different `lengths`, from the shortest to the longest.

    `law` power: y = base x length^slope; line: y = base + slope x length. `explained_ratio` is R squared, of a power law on the
    logarithms; None where y does not vary.
    """

    users: int
    figure: CostFigure
    law: Literal["power", "line"]
    lengths: int
    shortest_tokens: int
    longest_tokens: int
    base: float
    slope: float
    explained_ratio: float | None

    def at(self, tokens: float) -> float:
        """What the law says of a length."""
        return float(self.base * tokens**self.slope) if self.law == "power" else self.base + self.slope * tokens


def power_growth(users: int, figure: CostFigure, points: Iterable[tuple[int, float]]) -> Growth | None:
    """From (length, value above 0), each length once with the mean of its logarithms; None below three lengths."""
    fitted = _fit((math.log(x), math.log(y), x) for x, y in points if y > 0)
    return fitted and Growth(users, figure, "power", *fitted[:3], math.exp(fitted[3]), *fitted[4:])


def linear_growth(users: int, figure: CostFigure, points: Iterable[tuple[int, float]]) -> Growth | None:
    """From (length, value), each length once with its mean; None below three lengths."""
    fitted = _fit((float(x), y, x) for x, y in points)
    return fitted and Growth(users, figure, "line", *fitted)


def _fit(points: Iterable[tuple[float, float, int]]) -> tuple[int, int, int, float, float, float | None] | None:
    """(Lengths, the shortest, the longest, intercept, slope, R squared) of (x, y, length)."""
    by_length: dict[int, tuple[float, list[float]]] = {}
    for x, y, length in points:
        by_length.setdefault(length, (x, []))[1].append(y)
    if len(by_length) < _FEWEST_LENGTHS:
        return None
    line = fit_line([x for x, _ in by_length.values()], [fmean(values) for _, values in by_length.values()])
    return len(by_length), min(by_length), max(by_length), line.intercept, line.slope, line.explained_ratio
