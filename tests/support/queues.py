"""Simulated latencies of known properties: a queue, a closed loop, an autoregressive series, and planted changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_BEFORE = 1000
"""Values that are simulated first and left out, so that a series begins in its steady state."""


def mm1_times(count: int, utilisation: float, random: np.random.Generator) -> Floats:
    """[count] times in an M/M/1 queue with a mean service time of 1, in the order of arrival; their mean is 1 / (1 - utilisation)."""
    gaps, services = random.exponential(1 / utilisation, _BEFORE + count), random.exponential(1, _BEFORE + count)
    steps = np.concatenate([[0.0], np.cumsum(services[:-1] - gaps[1:])])
    waits = steps - np.minimum.accumulate(steps)  # Lindley's recursion
    times: Floats = (waits + services)[_BEFORE:]
    return times


def closed_loop_times(count: int, users: int, random: np.random.Generator) -> Floats:
    """[count] latencies of users without think time at one exponential server, in the order of sending."""
    done = np.cumsum(random.exponential(size=count + users))
    times: Floats = done[users:] - done[:-users]
    return times


def autoregressive(count: int, persistence: float, random: np.random.Generator) -> Floats:
    """[count] values of mean 0 with the correlation persistence**k at lag k."""
    from scipy import signal  # a second, which only the process that runs this spends

    series: Floats = signal.lfilter([1], [1, -persistence], random.normal(size=_BEFORE + count))[_BEFORE:]
    return series


PLANTED: dict[str, Callable[[Floats], Floats]] = {
    "ramp-up of a fifth": lambda share: np.minimum(1, 0.3 + 0.7 * share / 0.2),
    "warm-up of a fifth": lambda share: np.where(share < 0.2, 2 - share / 0.2, 1.0),
    "slow-down": lambda share: 1 + 0.5 * share,
    "step": lambda share: np.where(share < 0.5, 1.0, 1.3),
    "late step": lambda share: np.where(share < 0.9, 1.0, 1.5),
}
"""Factors of the latency by the share of requests before."""


def planted(kind: str, count: int, variation: float, random: np.random.Generator) -> Floats:
    """[count] independent latencies with this coefficient of variation and a planted change."""
    factors: Floats = PLANTED[kind](np.arange(count) / count)
    return factors * np.exp(random.normal(size=count) * variation)
