"""The measurements of a calibration: how true stamps are, how much a client can take, how punctually it sends."""

from __future__ import annotations

from dataclasses import dataclass

from trtbench.client.kserve.target import Target
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.drive import drive
from trtbench.self_test.figures import Ceiling, SendLag, StreamFigures
from trtbench.self_test.plans import closed_loop, poisson, prompt

_US_PER_S = 1_000_000
_MOST_RESPONSES, _LEAST_RESPONSES = 16, 4  # of a request in the mean
_CEILING_STREAMS, _CEILING_RESPONSES = 16, 1000
_LAG_ASK = prompt(2000, 2000, 4)


@dataclass(frozen=True)
class Pace:
    """What a server is asked to give: `responses_per_s` over all streams, on none of them more often than each `least_gap_us`."""

    responses_per_s: float
    least_gap_us: int

    def gap_us(self, streams: int) -> int:
        return max(self.least_gap_us, round(streams / self.responses_per_s * _US_PER_S))


TRITON_PACE = Pace(2_000, 2_000)  # of the 8,000 a second that its Python backend gives at most
REPLAY_PACE = Pace(10_000, 1_000)


async def measure_streams(
    server: str, target: Target, settings: ClientSettings, streams: int, pace: Pace, duration_s: float
) -> StreamFigures:
    """All streams in step, as an engine's running batch sends them; requests of different lengths, so that they end one by one."""
    gap_us = pace.gap_us(streams)
    mean = min(max(round(duration_s / 2 / gap_us * _US_PER_S), _LEAST_RESPONSES), _MOST_RESPONSES)
    asks = tuple(prompt(gap_us, gap_us, responses) for responses in range(mean // 2, mean + mean // 2 + 1))
    return StreamFigures.of(server, streams, gap_us, await drive(target, settings, closed_loop(streams, asks, duration_s)))


async def measure_ceiling(target: Target, settings: ClientSettings, duration_s: float) -> Ceiling:
    plan = closed_loop(_CEILING_STREAMS, (prompt(0, 0, _CEILING_RESPONSES),), duration_s)
    return Ceiling.of(_CEILING_STREAMS, await drive(target, settings, plan))


async def measure_send_lag(target: Target, settings: ClientSettings, rate: float, duration_s: float) -> SendLag:
    return SendLag.of(rate, await drive(target, settings, poisson(rate, _LAG_ASK, duration_s)))
