"""When the requests of an open loop are due: pure arithmetic on a rate, a bound and a generator of random numbers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from trtbench.clock import NS_PER_S, seconds_ns

Offsets = npt.NDArray[np.int64]
"""Nanoseconds from the start of a phase, shape [requests], not decreasing."""


def due_offsets(
    mode: Literal["constant", "poisson", "gamma"],
    rate: float,
    burstiness: float | None,
    requests: int | None,
    duration_s: float | None,
    random: np.random.Generator,
) -> Offsets:
    """An open loop of `rate` requests per second that ends after `requests` or at `duration_s`, whichever is first.

    `burstiness` is the shape of gamma arrivals; other modes have none.
    """
    if requests is None and duration_s is None:
        raise ValueError("an open loop needs a number of requests, a duration, or both")
    if mode == "constant":
        return constant_offsets(rate, requests, duration_s)
    return gamma_offsets(rate, burstiness or 1.0, requests, duration_s, random)


def constant_offsets(rate: float, requests: int | None, duration_s: float | None) -> Offsets:
    """Request i at i / rate, the first at once; each rounded on its own, so that no error adds up."""
    count = requests if duration_s is None else int(np.ceil(duration_s * rate))
    if requests is not None and count is not None:
        count = min(count, requests)
    return _within(np.rint(np.arange(count or 0) * (NS_PER_S / rate)).astype(np.int64), duration_s)


def gamma_offsets(rate: float, burstiness: float, requests: int | None, duration_s: float | None, random: np.random.Generator) -> Offsets:
    """Cumulative gamma gaps of mean 1 / rate and coefficient of variation 1 / sqrt(burstiness), the first before the first request.

    A burstiness of 1 makes them exponential: the definition of a Poisson process.
    Longer draws start like shorter ones: raising `requests` or `duration_s` keeps the arrivals that were there.
    """
    scale = 1 / (rate * burstiness)
    if requests is not None:
        return _within(_to_ns(np.cumsum(random.gamma(burstiness, scale, requests))), duration_s)
    assert duration_s is not None
    gaps = random.gamma(burstiness, scale, 1)
    while gaps.sum() < duration_s:
        missing = int((duration_s - gaps.sum()) * rate) + 16
        gaps = np.concatenate([gaps, random.gamma(burstiness, scale, missing)])
    return _within(_to_ns(np.cumsum(gaps)), duration_s)


def _to_ns(seconds: npt.NDArray[np.float64]) -> Offsets:
    return np.rint(seconds * NS_PER_S).astype(np.int64)


def _within(offsets: Offsets, duration_s: float | None) -> Offsets:
    return offsets if duration_s is None else offsets[offsets < seconds_ns(duration_s)]
