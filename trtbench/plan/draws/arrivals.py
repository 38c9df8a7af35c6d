"""When the requests of an open loop are due: pure arithmetic on a rate, a bound and a generator of random numbers.

Gaps are drawn for a rate of one request per unit of time and summed; the inverse of the integrated rate then turns units into
seconds. That makes an exact process of any rate that changes (time change of a point process: Daley and Vere-Jones, An Introduction
to the Theory of Point Processes, I, 7.4), with no bins and nothing thinned out.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trtbench.plan.draws.rates import Floats, RateProfile
from trtbench.system.clock import NS_PER_S, seconds_ns

Offsets = npt.NDArray[np.int64]
"""Nanoseconds from the start of a phase, shape [requests], not decreasing."""

_SPARE = 16  # gaps drawn beyond those expected, so that one draw mostly does


def due_offsets(
    rates: RateProfile, burstiness: float | None, requests: int | None, duration_s: float | None, random: np.random.Generator
) -> Offsets:
    """An open loop that ends after `requests` or at `duration_s`, whichever is first.

    `burstiness`: gamma gaps of coefficient of variation 1 / sqrt(burstiness), the first before the first request; 1 makes them
    exponential, the definition of a Poisson process. None: even gaps, the first request at once.
    Longer draws start like shorter ones: raising `requests` or `duration_s` keeps the arrivals that were there.
    """
    if requests is None and duration_s is None:
        raise ValueError("an open loop needs a number of requests, a duration, or both")
    most = math.inf if duration_s is None else rates.expected(duration_s)
    count = math.inf if requests is None else requests
    units = _even_units(count, most) if burstiness is None else _gamma_units(burstiness, count, most, random)
    instants_s = rates.instants_s(units)
    offsets: Offsets = np.rint(instants_s[np.isfinite(instants_s)] * NS_PER_S).astype(np.int64)
    return offsets if duration_s is None else offsets[offsets < seconds_ns(duration_s)]


def burst_offsets(
    rate: float,
    on_s: float,
    off_s: float,
    burstiness: float | None,
    requests: int | None,
    duration_s: float | None,
    random: np.random.Generator,
) -> Offsets:
    """Arrivals of `rate` for `on_s`, none for `off_s`, and again; bounds and `burstiness` as in `due_offsets`.

    Drawn on a clock that stands still while off, then set apart: a gap that a pause cuts goes on after it.
    """
    on_ns, off_ns = seconds_ns(on_s), seconds_ns(off_s)
    busy_s = None
    if duration_s is not None:
        cycles, rest_ns = divmod(seconds_ns(duration_s), on_ns + off_ns)
        busy_s = (cycles * on_ns + min(rest_ns, on_ns)) / NS_PER_S
    busy = due_offsets(RateProfile.steady(rate), burstiness, requests, busy_s, random)
    return busy + busy // on_ns * off_ns


def mean_rate(offsets: Offsets) -> float:
    """Requests per second, over the gaps between them; 0 of fewer than two, or of all at once."""
    span_ns = int(offsets[-1] - offsets[0]) if len(offsets) else 0
    return (len(offsets) - 1) * NS_PER_S / span_ns if span_ns else 0.0


def _even_units(count: float, most: float) -> Floats:
    """0, 1, 2, ... below `most`, no more than `count`."""
    return np.arange(min(count, math.ceil(most) if math.isfinite(most) else math.inf), dtype=np.float64)


def _gamma_units(burstiness: float, count: float, most: float, random: np.random.Generator) -> Floats:
    """Sums of gamma gaps of mean 1, to `count` or just past `most`."""
    units = np.zeros(1)
    while len(units) - 1 < count and units[-1] < most:
        size = int(min(count - len(units) + 1, most - units[-1] + _SPARE))
        gaps = random.gamma(burstiness, 1 / burstiness, size)
        units = np.concatenate([units[:-1], np.cumsum(np.concatenate([units[-1:], gaps]))])
    return units[1:]
