"""The due times of the requests of an open loop: pure arithmetic on a rate, a bound and a generator of random numbers.

Gaps are drawn for a rate of one request per unit of time and summed; the inverse of the integrated rate then turns units into seconds.
The result is an exact process for any changing rate (time change of a point process: Daley and Vere-Jones, An Introduction to the Theory
of Point Processes, I, 7.4), without bins and without thinning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trtbench.system.clock import NS_PER_S, seconds_ns

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RateProfile:
    """A rate as linear pieces: from `starts_s[i]` it is `rates[i]` requests per second and grows by `slopes[i]` a second; shape [pieces].

    The rate may jump between pieces. The first piece starts at 0, the last never ends, and no piece falls below 0.
    """

    starts_s: Floats
    rates: Floats
    slopes: Floats

    @classmethod
    def steady(cls, rate: float) -> RateProfile:
        return cls(np.array([0.0]), np.array([rate]), np.array([0.0]))

    @classmethod
    def ramp(cls, first: float, last: float, over_s: float) -> RateProfile:
        """A linear ramp from `first` to `last` over `over_s`, after which the rate stays at `last`."""
        return cls(np.array([0.0, over_s]), np.array([first, last]), np.array([(last - first) / over_s, 0.0]))

    @classmethod
    def staircase(cls, first: float, last: float, steps: int, over_s: float) -> RateProfile:
        """`steps` rates from `first` to `last`, each for over_s / steps; the last one stays."""
        return cls(np.arange(steps) * over_s / steps, np.linspace(first, last, steps, dtype=np.float64), np.zeros(steps))

    def expected(self, instant_s: float) -> float:
        """The number of requests expected until `instant_s`, which is the integral of the rate."""
        piece = int(np.searchsorted(self.starts_s, instant_s, side="right")) - 1
        into_s = instant_s - self.starts_s[piece]
        return float(self._expected_at_starts()[piece] + into_s * (self.rates[piece] + self.slopes[piece] * into_s / 2))

    def instants_s(self, expected: Floats) -> Floats:
        """The instants until which these numbers of requests are expected: the inverse of the integral, infinite after the end of the rate.

        In a piece that starts with rate r and grows by s, the integral v is reached after t with v = r t + s t^2 / 2; solved as
        t = 2 v / (r + sqrt(r^2 + 2 s v)), which cancels nothing and holds for s = 0.
        """
        at_starts = self._expected_at_starts()
        # A piece of rate 0 has no request: "right" skips all pieces that begin with the same integral.
        piece = np.searchsorted(at_starts, expected, side="right") - 1
        rate, slope, into = self.rates[piece], self.slopes[piece], expected - at_starts[piece]
        divisor = rate + np.sqrt(np.maximum(rate**2 + 2 * slope * into, 0))
        never = np.where(slope > 0, 0.0, np.inf)  # 0 / 0: the start of a piece that grows from 0, or past the end of all
        into_s = np.divide(2 * into, divisor, out=never, where=divisor > 0)
        return np.asarray(self.starts_s[piece] + into_s, np.float64)

    def _expected_at_starts(self) -> Floats:
        lasts_s = np.diff(self.starts_s)
        return np.concatenate([[0.0], np.cumsum(lasts_s * (self.rates[:-1] + self.slopes[:-1] * lasts_s / 2))])


Offsets = npt.NDArray[np.int64]
"""Nanoseconds from the start of a phase, shape [requests], not decreasing."""

_SPARE = 16  # gaps drawn beyond those expected, so that one draw is usually enough


def due_offsets(
    rates: RateProfile, burstiness: float | None, requests: int | None, duration_s: float | None, random: np.random.Generator
) -> Offsets:
    """The due instants of an open loop that ends after `requests` or at `duration_s`, whichever is first.

    `burstiness`: gaps are gamma distributed with coefficient of variation 1 / sqrt(burstiness), the first one before the first request; 1
    makes them exponential, which is a Poisson process. None: even gaps, and the first request at once.
    Longer draws begin like shorter ones: raising `requests` or `duration_s` keeps the existing arrivals.
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
    """Arrivals at `rate` for `on_s`, none for `off_s`, and so on; bounds and `burstiness` as in `due_offsets`.

    They are drawn on a clock that stops during pauses, and pauses are inserted afterwards: an interrupted gap continues after its pause.
    """
    on_ns, off_ns = seconds_ns(on_s), seconds_ns(off_s)
    busy_s = None
    if duration_s is not None:
        cycles, rest_ns = divmod(seconds_ns(duration_s), on_ns + off_ns)
        busy_s = (cycles * on_ns + min(rest_ns, on_ns)) / NS_PER_S
    busy = due_offsets(RateProfile.steady(rate), burstiness, requests, busy_s, random)
    return busy + busy // on_ns * off_ns


def mean_rate(offsets: Offsets) -> float:
    """Requests per second, over the gaps between them; 0 for fewer than two requests, or if all are due at once."""
    span_ns = int(offsets[-1] - offsets[0]) if len(offsets) else 0
    return (len(offsets) - 1) * NS_PER_S / span_ns if span_ns else 0.0


def _even_units(count: float, most: float) -> Floats:
    """0, 1, 2, ... below `most`, and at most `count` of them."""
    return np.arange(min(count, math.ceil(most) if math.isfinite(most) else math.inf), dtype=np.float64)


def _gamma_units(burstiness: float, count: float, most: float, random: np.random.Generator) -> Floats:
    """Sums of gamma distributed gaps of mean 1, `count` of them or until just past `most`."""
    units = np.zeros(1)
    while len(units) - 1 < count and units[-1] < most:
        size = int(min(count - len(units) + 1, most - units[-1] + _SPARE))
        gaps = random.gamma(burstiness, 1 / burstiness, size)
        units = np.concatenate([units[:-1], np.cumsum(np.concatenate([units[-1:], gaps]))])
    return units[1:]
