"""One calibration: its servers, and its measurements one after another.

It measures how accurate timestamps are, how many responses a client can receive, and how punctually it sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trtbench.client.protocol import Target
from trtbench.client.registry import TRITON_CLIENT
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.answer import MODEL
from trtbench.self_test.figures import Calibration, Ceiling, SendLag, StreamFigures
from trtbench.self_test.servers import ReplayProcess, calibration_triton, running_target
from trtbench.self_test.trial import closed_loop, poisson, prompt, run_trial
from trtbench.serving.server.installation import InstallationError, find_tritonserver

_US_PER_S = 1_000_000
_MOST_RESPONSES, _LEAST_RESPONSES = 16, 4  # bounds on the mean number of responses of a request
_CEILING_STREAMS, _CEILING_RESPONSES = 16, 1000
_LAG_ASK = prompt(2000, 2000, 4)


@dataclass(frozen=True)
class Pace:
    """The rate that a server is asked for: `responses_per_s` over all streams, and on each stream at most one every `least_gap_us`."""

    responses_per_s: float
    least_gap_us: int

    def gap_us(self, streams: int) -> int:
        return max(self.least_gap_us, round(streams / self.responses_per_s * _US_PER_S))


TRITON_PACE = Pace(2_000, 2_000)  # its Python backend can send at most 8,000 a second
REPLAY_PACE = Pace(10_000, 1_000)


async def measure_streams(
    server: str, target: Target, settings: ClientSettings, streams: int, pace: Pace, duration_s: float
) -> StreamFigures:
    """Measure streams that respond at the same time, as those of an engine's running batch do. Requests have different lengths and
    so end at different times."""
    gap_us = pace.gap_us(streams)
    mean = min(max(round(duration_s / 2 / gap_us * _US_PER_S), _LEAST_RESPONSES), _MOST_RESPONSES)
    asks = tuple(prompt(gap_us, gap_us, responses) for responses in range(mean // 2, mean + mean // 2 + 1))
    return StreamFigures.of(server, streams, gap_us, await run_trial(target, settings, closed_loop(streams, asks, duration_s)))


async def measure_ceiling(target: Target, settings: ClientSettings, duration_s: float) -> Ceiling:
    plan = closed_loop(_CEILING_STREAMS, (prompt(0, 0, _CEILING_RESPONSES),), duration_s)
    return Ceiling.of(_CEILING_STREAMS, await run_trial(target, settings, plan))


async def measure_send_lag(target: Target, settings: ClientSettings, rate: float, duration_s: float) -> SendLag:
    return SendLag.of(rate, await run_trial(target, settings, poisson(rate, _LAG_ASK, duration_s)))


@dataclass(frozen=True)
class Extent:
    """The extent of measuring: the seconds of each measurement, and the requests per second of the open loops."""

    seconds: float
    rates: tuple[float, ...]


FULL = Extent(4.0, (10, 100, 500, 1000, 2000))
QUICK = Extent(1.0, (100, 500, 1000))


@dataclass(frozen=True)
class Calibrator:
    """Runs a calibration. `progress` is called with what is measured next."""

    settings: ClientSettings
    streams: tuple[int, ...]
    extent: Extent
    progress: Callable[[str], None]

    async def run(self, url: str | None) -> Calibration:
        """Measure a Triton first: the server at `url`, or one that is started here, or none if Triton is not installed. Then measure the
        replay server.

        TargetError for a `url` without the calibration model, ServerError for a Triton that does not start.
        """
        rows, skipped = [], ""
        try:
            with self._triton(url) as target:
                rows += await self._rows("Triton", target, TRITON_PACE)
        except InstallationError as error:
            skipped = str(error)
        with ReplayProcess() as replay:
            target = TRITON_CLIENT.inspect(replay.url, MODEL)
            rows += await self._rows("replay", target, REPLAY_PACE)
            self.progress("replay: as many responses as it takes")
            ceiling = await measure_ceiling(target, self.settings, self.extent.seconds)
            send_lag = [await self._send_lag(target, rate) for rate in self.extent.rates]
        return Calibration(tuple(rows), ceiling, tuple(send_lag), skipped)

    @contextmanager
    def _triton(self, url: str | None) -> Iterator[Target]:
        if url:
            yield running_target(url)
            return
        installation = find_tritonserver()
        self.progress(f"Triton {installation.version} starts")
        with calibration_triton(installation) as server:
            yield TRITON_CLIENT.inspect(server.endpoints.grpc, MODEL)

    async def _rows(self, server: str, target: Target, pace: Pace) -> list[StreamFigures]:
        rows = []
        for streams in self.streams:
            self.progress(f"{server}: {streams} streams, a response each every {pace.gap_us(streams) / 1000:g} ms")
            rows.append(await measure_streams(server, target, self.settings, streams, pace, self.extent.seconds))
        return rows

    async def _send_lag(self, target: Target, rate: float) -> SendLag:
        self.progress(f"replay: {rate:g} requests/s, Poisson")
        return await measure_send_lag(target, self.settings, rate, self.extent.seconds)
