"""A rate of requests over time, its integral and the inverse of that: where the k-th expected request lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RateProfile:
    """Straight pieces: from `starts_s[i]` on the rate is `rates[i]` requests per second and grows by `slopes[i]` a second; shape [pieces].

    Pieces may jump where they meet. The first starts at 0, the last goes on without end. No piece falls below 0.
    """

    starts_s: Floats
    rates: Floats
    slopes: Floats

    @classmethod
    def steady(cls, rate: float) -> RateProfile:
        return cls(np.array([0.0]), np.array([rate]), np.array([0.0]))

    @classmethod
    def ramp(cls, first: float, last: float, over_s: float) -> RateProfile:
        """In a line from `first` to `last`, held from `over_s` on."""
        return cls(np.array([0.0, over_s]), np.array([first, last]), np.array([(last - first) / over_s, 0.0]))

    @classmethod
    def staircase(cls, first: float, last: float, steps: int, over_s: float) -> RateProfile:
        """`steps` rates from `first` to `last`, each for over_s / steps, the last held."""
        return cls(np.arange(steps) * over_s / steps, np.linspace(first, last, steps, dtype=np.float64), np.zeros(steps))

    def expected(self, instant_s: float) -> float:
        """Requests expected until then: the integral of the rate."""
        piece = int(np.searchsorted(self.starts_s, instant_s, side="right")) - 1
        into_s = instant_s - self.starts_s[piece]
        return float(self._expected_at_starts()[piece] + into_s * (self.rates[piece] + self.slopes[piece] * into_s / 2))

    def instants_s(self, expected: Floats) -> Floats:
        """When so many are expected: the inverse of the integral, infinite where the rate has ended before.

        In a piece that starts with rate r and grows by s, the integral v is reached after t with v = r t + s t^2 / 2; solved as
        t = 2 v / (r + sqrt(r^2 + 2 s v)), which cancels nothing and holds for s = 0.
        """
        at_starts = self._expected_at_starts()
        # A piece of rate 0 holds no request: "right" goes past all that begin with the same integral.
        piece = np.searchsorted(at_starts, expected, side="right") - 1
        rate, slope, into = self.rates[piece], self.slopes[piece], expected - at_starts[piece]
        divisor = rate + np.sqrt(np.maximum(rate**2 + 2 * slope * into, 0))
        never = np.where(slope > 0, 0.0, np.inf)  # 0 / 0: the start of a piece that grows from 0, or past the end of all
        into_s = np.divide(2 * into, divisor, out=never, where=divisor > 0)
        return np.asarray(self.starts_s[piece] + into_s, np.float64)

    def _expected_at_starts(self) -> Floats:
        lasts_s = np.diff(self.starts_s)
        return np.concatenate([[0.0], np.cumsum(lasts_s * (self.rates[:-1] + self.slopes[:-1] * lasts_s / 2))])
