"""One calibration from beginning to end: its servers, its measurements one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trtbench.client.kserve.target import Target, inspect_target
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.description import MODEL
from trtbench.self_test.figures import Calibration, SendLag, StreamFigures
from trtbench.self_test.measure import REPLAY_PACE, TRITON_PACE, Pace, measure_ceiling, measure_send_lag, measure_streams
from trtbench.self_test.replay_process import ReplayProcess
from trtbench.self_test.servers import calibration_triton, running_target
from trtbench.serving.server.installation import InstallationError, find_tritonserver


@dataclass(frozen=True)
class Extent:
    """How much is measured: seconds of each measurement, requests/s of the open loops."""

    seconds: float
    rates: tuple[float, ...]


FULL = Extent(4.0, (10, 100, 500, 1000, 2000))
QUICK = Extent(1.0, (100, 500, 1000))


@dataclass(frozen=True)
class Calibrator:
    """`progress` hears what is measured next."""

    settings: ClientSettings
    streams: tuple[int, ...]
    extent: Extent
    progress: Callable[[str], None]

    async def run(self, url: str | None) -> Calibration:
        """Triton first: the one under `url`, else one of our own, none where there is no installation. Then the replay server.

        TargetError for a `url` without the calibration model, ServerError for a Triton that does not start.
        """
        rows, skipped = [], ""
        try:
            with self._triton(url) as target:
                rows += await self._rows("Triton", target, TRITON_PACE)
        except InstallationError as error:
            skipped = str(error)
        with ReplayProcess() as replay:
            target = inspect_target(replay.url, MODEL)
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
            yield inspect_target(server.endpoints.grpc, MODEL)

    async def _rows(self, server: str, target: Target, pace: Pace) -> list[StreamFigures]:
        rows = []
        for streams in self.streams:
            self.progress(f"{server}: {streams} streams, a response each every {pace.gap_us(streams) / 1000:g} ms")
            rows.append(await measure_streams(server, target, self.settings, streams, pace, self.extent.seconds))
        return rows

    async def _send_lag(self, target: Target, rate: float) -> SendLag:
        self.progress(f"replay: {rate:g} requests/s, Poisson")
        return await measure_send_lag(target, self.settings, rate, self.extent.seconds)
