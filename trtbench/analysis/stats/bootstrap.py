"""Block bootstrap of requests in the order of time: how far a mean, a rate or a percentile of one stage may be from its long-run value.

Latencies of neighbouring requests depend on each other (a queue, a batch, a busy second), so that blocks of consecutive requests are
drawn with replacement, not single requests: the circular block bootstrap of Politis and Romano (1992). The block length is that of Politis
and White (2004), with the correction of Patton, Politis and White (2009), for the influence of each request on the statistic; for a
percentile, the longer of that and the one of the values, since the few values above a P99 show too little of how long busy times last.
Blocks begin at every quarter of a block. A draw is a sum over the drawn blocks, so that all draws are one product of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trtbench.analysis.stats.student import t_quantile

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DRAWS = 2000
LEAST_UNITS = 20
"""Fewer requests give no interval."""
_MOST_CELLS = 512
_CELLS_OF_BLOCK = 4
_LEAST_BLOCKS = 10
_MOST_THRESHOLDS = 256
_WINDOW_DEVIATIONS = 6.0
_LEAST_BATCHES, _MOST_BATCHES, _MOST_COEFFICIENT = 20, 64, 0.97
_NORMAL_975 = 1.959964


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A statistic of one stage. `deviations` [DRAWS]: statistic of each draw minus `value`, widened for the number of `blocks`, because
    few blocks show too little of the variance (Student's t in place of the normal law).
    """

    value: float
    deviations: Floats
    blocks: int

    def at(self, value: float) -> Bootstrap:
        """The same relative deviations around another definition of the same figure."""
        factor = value / self.value if self.value else 1.0
        return replace(self, value=value, deviations=self.deviations * factor)


def of_ratio(amounts: Floats, weights: Floats, random: np.random.Generator, *others: Floats) -> Bootstrap | None:
    """sum(amounts) / sum(weights) over requests [n] in the order of time: a mean (weights 1) or a rate (weights: seconds).

    `others`: series of the same requests whose dependence shows more clearly, as that of latencies where times between ends are noisy.
    """
    total = float(weights.sum())
    if len(amounts) < LEAST_UNITS or total <= 0:
        return None
    value = float(amounts.sum()) / total
    blocks = _Blocks.of(amounts - value * weights, *others)
    sums = blocks.draw(np.stack([blocks.cells(amounts), blocks.cells(weights)], axis=1), random)
    return blocks.widened(value, sums[:, 0] / np.maximum(sums[:, 1], np.finfo(float).tiny))


def of_percentile(values: Floats, units: Ints, count: int, permille: int, random: np.random.Generator) -> Bootstrap | None:
    """A percentile of pooled values [m], of which value i belongs to the request `units[i]` of `count` in the order of time."""
    if count < LEAST_UNITS or not len(values):
        return None
    ordered = np.sort(values)
    rank = max(-(-permille * len(ordered) // 1000), 1)
    value = float(ordered[rank - 1])
    above = np.bincount(units, values > value, count)
    every = np.bincount(units, minlength=count).astype(float)
    influence = above - above.sum() / every.sum() * every
    blocks = _Blocks.of(influence, np.bincount(units, values, count) / np.maximum(every, 1))
    spread = _WINDOW_DEVIATIONS * blocks.deviation(influence) + 1
    first, last = max(0, int(rank - 1 - spread)), min(len(ordered) - 1, int(rank - 1 + spread) + 1)
    thresholds = np.unique(ordered[np.linspace(first, last, min(_MOST_THRESHOLDS, last - first + 1)).round().astype(int)])
    places = np.searchsorted(thresholds, values, "left")  # the first threshold at or above each value
    width = len(thresholds) + 1
    owners = blocks.cell_of(units)
    counts = np.bincount(owners * width + places, minlength=blocks.cell_count * width).reshape(-1, width).cumsum(axis=1)
    sums = blocks.draw(counts.astype(float), random)
    reached = sums[:, :-1] >= sums[:, -1:] * (permille / 1000) - 1e-9
    found = np.where(reached.any(axis=1), reached.argmax(axis=1), len(thresholds) - 1)
    return blocks.widened(value, thresholds[found])


def design_effect(outcomes: Floats) -> float:
    """The variance of the mean of 0 and 1 [n] in the order of time, divided by that of independent outcomes; at least 1."""
    share = float(outcomes.mean())
    if len(outcomes) < LEAST_UNITS or not 0 < share < 1:
        return 1.0
    influence = outcomes - share
    return max(1.0, _Blocks.of(influence).deviation(influence) ** 2 / (len(outcomes) * share * (1 - share)))


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Requests in `cell_count` cells of about equal size; a block is `width` cells in a circle, and a draw has `drawn` blocks."""

    count: int
    cell_count: int
    width: int
    drawn: int
    shortfall: float = 1.0

    @classmethod
    def of(cls, influence: Floats, *others: Floats) -> _Blocks:
        """The longest blocks that one of the series [n] needs. `shortfall`: `long_run_deviation` of the influence, divided by the deviation
        that blocks of this length show, which is too small where dependence reaches further than a block.
        """
        count = len(influence)
        length = min(max(map(block_length, (influence, *others))), count / _LEAST_BLOCKS)
        stride = max(1, int(length / _CELLS_OF_BLOCK), -(-count // _MOST_CELLS))
        width = max(1, round(length / stride))
        blocks = cls(count, -(-count // stride), width, max(2, round(count / (stride * width))))
        deviation, batches = blocks.deviation(influence), int(min(max(2 * count / length, _LEAST_BATCHES), _MOST_BATCHES, count / 2))
        return replace(blocks, shortfall=max(1.0, long_run_deviation(influence, batches) / deviation)) if deviation > 0 else blocks

    def cell_of(self, units: Ints) -> Ints:
        cells: Ints = units * self.cell_count // self.count
        return cells

    def cells(self, values: Floats) -> Floats:
        """Sums of the values [n] over each cell."""
        return np.bincount(self.cell_of(np.arange(self.count)), values, self.cell_count).astype(np.float64)

    def draw(self, cells: Floats, random: np.random.Generator) -> Floats:
        """[DRAWS, f]: sums of draws of blocks, of the sums [cell_count, f] of the cells."""
        chosen = random.integers(0, self.cell_count, (DRAWS, self.drawn)) + np.arange(DRAWS)[:, None] * self.cell_count
        times = np.bincount(chosen.ravel(), minlength=DRAWS * self.cell_count).reshape(DRAWS, -1).astype(float)
        sums: Floats = times @ self._blocks(cells)
        return sums

    def deviation(self, influence: Floats) -> float:
        """The standard deviation of a sum over all requests, from the sums of the blocks."""
        return float(self._blocks(self.cells(influence)[:, None]).std() * self.drawn**0.5) * self.shortfall

    def widened(self, value: float, drawn: Floats) -> Bootstrap:
        """The bootstrap of a statistic with this value from its draws."""
        freedom = self.drawn - 1
        factor = self.shortfall * t_quantile(0.975, freedom) / _NORMAL_975 * (self.drawn / freedom) ** 0.5
        return Bootstrap(value, (drawn - value) * factor, self.drawn)

    def _blocks(self, cells: Floats) -> Floats:
        around = np.concatenate([np.zeros((1, cells.shape[1])), cells, cells[: self.width - 1]]).cumsum(axis=0)
        sums: Floats = around[self.width :] - around[: -self.width]
        return sums


def block_length(series: Floats) -> float:
    """The block length that minimises the error of the variance of the mean of a series [n >= 20] (Politis and White 2004; their
    correction of 2009), at least 1 and at most min(3 sqrt(n), n / 3).
    """
    count = len(series)
    least_lags = max(5, int(np.log10(count)))
    most_lags = min(int(np.ceil(count**0.5)) + least_lags, count - 1)
    covariances = _autocovariances(series, most_lags)
    if covariances[0] <= 0:
        return 1.0
    small = np.abs(covariances[1:] / covariances[0]) < 2 * (np.log10(count) / count) ** 0.5
    runs = np.convolve(small, np.ones(least_lags), "valid") if len(small) >= least_lags else np.zeros(0)
    quiet = np.flatnonzero(runs == least_lags)
    last = int(quiet[0]) if len(quiet) else (int(np.flatnonzero(~small)[-1]) + 1 if (~small).any() else 1)
    lags = np.arange(1, min(2 * max(last, 1), most_lags) + 1)
    weights = np.where(lags / lags[-1] <= 0.5, 1.0, 2 * (1 - lags / lags[-1]))  # the flat-top window of Politis and Romano (1995)
    slope = 2 * float((weights * lags * covariances[lags]).sum())
    density = float(covariances[0] + 2 * (weights * covariances[lags]).sum())
    if density <= 0:
        return 1.0
    best = (2 * slope**2 / (4 / 3 * density**2)) ** (1 / 3) * count ** (1 / 3)
    return float(min(max(best, 1.0), 3 * count**0.5, count / 3))


def long_run_deviation(series: Floats, batches: int) -> float:
    """The standard deviation of the sum of a series [n], from an autoregression of its means over this number of batches, which also counts
    dependence that reaches further than a batch (Andrews and Monahan 1992; the bias of the coefficient by Kendall 1954).
    """
    edges = np.linspace(0, len(series), batches + 1).round().astype(int)
    means = np.add.reduceat(series - series.mean(), edges[:-1]) / np.diff(edges)
    energy = float((means**2).sum())
    if energy <= 0:
        return 0.0
    coefficient = float((means[1:] * means[:-1]).sum()) / energy
    coefficient = min(max(coefficient + (1 + 3 * coefficient) / batches, 0.0), _MOST_COEFFICIENT)
    variance = energy / batches * (1 - coefficient**2) / (1 - coefficient) ** 2
    return float(variance**0.5 * len(series) / batches**0.5)


def _autocovariances(series: Floats, most_lags: int) -> Floats:
    """[most_lags + 1], by the Fourier transform, since a day's run has a million requests."""
    centred = series - series.mean()
    size = 1 << (len(series) + most_lags).bit_length()
    spectrum = np.fft.rfft(centred, size)
    covariances: Floats = np.fft.irfft(spectrum * np.conj(spectrum), size)[: most_lags + 1] / len(series)
    return covariances
