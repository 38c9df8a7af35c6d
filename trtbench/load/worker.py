"""A load worker: the process that sends a share of the plan. `python -m trtbench.load.worker`

It does nothing else, so that no report, progress bar or server in the same process can delay a timestamp. It reads orders as JSON lines
from standard input, first its WorkerConfig, and writes reports as JSON lines to standard output. It ends when standard input ends, so it
never outlives trtbench.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trtbench.client.protocol import Client, ConnectError, Target
from trtbench.client.registry import client_to, target_from_json, target_to_json
from trtbench.errors import UserError
from trtbench.load.attempts import Attempts, StopSignal
from trtbench.load.deadline_timer import DeadlineTimer
from trtbench.load.generator import Generator, PhaseRun
from trtbench.load.share import Share
from trtbench.load.tally import LoadProgress, Recorder
from trtbench.plan.plan import Phase
from trtbench.plan.plan_file import load_plan
from trtbench.rundir import LineWriter, sample_row
from trtbench.rundir.records import Sample
from trtbench.rundir.series import SeriesName
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import cpu_ns, now_ns
from trtbench.system.event_loop import loop_name, new_loop, no_collections, probe_lag, watched_collections


class WorkerHealth:
    """Writes samples of the worker itself: the longest event loop lag and garbage collection of an interval, and the CPU used in it.

    The series are `client_loop_lag_ns`, `client_gc_pause_ns` and `client_worker_cpu_cores`, with the worker's number as their label."""

    def __init__(self, writer: LineWriter, worker: int) -> None:
        self._writer, self._label = writer, str(worker)
        self._lag_ns = self._pause_ns = 0
        self._at_ns, self._cpu_ns = now_ns(), cpu_ns()

    def lag(self, lag_ns: int) -> None:
        self._lag_ns = max(self._lag_ns, lag_ns)

    def pause(self, pause_ns: int) -> None:
        self._pause_ns = max(self._pause_ns, pause_ns)

    def sample(self) -> None:
        """Write the samples of the interval since the last call."""
        at_ns, used_ns = now_ns(), cpu_ns()
        cores = (used_ns - self._cpu_ns) / max(at_ns - self._at_ns, 1)
        readings: dict[SeriesName, float] = {
            "client_loop_lag_ns": self._lag_ns,
            "client_gc_pause_ns": self._pause_ns,
            "client_worker_cpu_cores": cores,
        }
        self._writer.write(*(sample_row(Sample(at_ns, name, self._label, value)) for name, value in readings.items()))
        self._lag_ns, self._pause_ns, self._at_ns, self._cpu_ns = 0, 0, at_ns, used_ns

    def close(self) -> None:
        self._writer.close()


_REPORT_S = 0.25
_SWITCH_S = 0.0002  # the recorder's thread returns the interpreter to the event loop within this time


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs to know. `watch`: it reports (done_ns, latency_ns) of each completed request."""

    number: int
    plan: Path
    requests: Path
    samples: Path
    target: Target
    workload: Workload
    settings: ClientSettings
    end_id: int
    timeout_s: float
    drain_s: float
    watch: bool = False

    def to_line(self) -> bytes:
        row = {name: getattr(self, name) for name in ("number", "end_id", "timeout_s", "drain_s", "watch")}
        row |= {name: str(getattr(self, name)) for name in ("plan", "requests", "samples")}
        row["target"] = target_to_json(self.target)
        row |= {name: getattr(self, name).model_dump(mode="json") for name in ("workload", "settings")}
        return json.dumps(row).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> WorkerConfig:
        row = json.loads(line)
        row |= {name: Path(row[name]) for name in ("plan", "requests", "samples")}
        models = {"workload": Workload.model_validate(row["workload"]), "settings": ClientSettings.model_validate(row["settings"])}
        return cls(**row | {"target": target_from_json(row["target"])} | models)


class Worker:
    """Executes orders; the name of an order is the name of a method."""

    def __init__(self, config: WorkerConfig, client: Client, recorder: Recorder, health: WorkerHealth) -> None:
        self._plan = load_plan(config.plan)
        self._health = health
        self._progress = LoadProgress(finished=[] if config.watch else None)
        self._client = client
        attempts = Attempts(client, config.timeout_s, config.settings.retries, config.settings.retry_delay_s)
        self._generator = Generator(attempts, recorder, self._progress, DeadlineTimer(), config.drain_s, config.number)
        self._stop = StopSignal()
        self._run: PhaseRun | None = None
        self._undisturbed = ExitStack()
        self.broken = False
        """Whether the worker has failed. The process then ends with a report of the reason."""

    async def prepare_phase(self, order: dict[str, Any]) -> dict[str, Any]:
        self._stop = StopSignal()
        self._run = await self._generator.prepare_phase(self._phase(order), self._share(order), self._stop)
        self._undisturbed.enter_context(no_collections())
        return {"prepared": True}

    async def run_phase(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._run, "prepare comes first"
        used_ns = cpu_ns()
        with self._undisturbed:
            result = await self._run.run_phase(order["start_ns"])
        self._run = None
        return {"phase": asdict(result), "cpu_ns": cpu_ns() - used_ns} | self.progress()

    def skip(self, order: dict[str, Any]) -> None:
        self._generator.skip(self._phase(order), self._share(order))

    def stop(self, order: dict[str, Any]) -> None:
        getattr(self._stop, order["how"])()

    def renew(self, order: dict[str, Any]) -> None:
        self._client.renew_streams()

    async def switch(self, order: dict[str, Any]) -> dict[str, Any]:
        await self._client.switch_model(order["model"])
        return {"switched": order["model"]}

    def tick(self) -> None:
        self._health.sample()
        if self._run:
            report(self.progress())

    def progress(self) -> dict[str, Any]:
        finished = self._progress.take_finished()
        return {"counts": asdict(self._progress.counts)} | ({"finished": finished} if finished else {})

    def _phase(self, order: dict[str, Any]) -> Phase:
        part = self._plan.stages[order["stage"]]
        phase: Phase = part.warmup if order["warmup"] else part.measured
        return phase

    def _share(self, order: dict[str, Any]) -> Share:
        return Share(order["worker"], order["workers"])


def report(row: dict[str, Any]) -> None:
    """Write a report to standard output without buffering. If trtbench is gone, the report is lost."""
    with suppress(BrokenPipeError):
        os.write(1, json.dumps(row, separators=(",", ":")).encode() + b"\n")


async def serve(config: WorkerConfig) -> None:
    """Execute orders until standard input ends or orders `close`. ConnectError and OSError as the client and the recorder raise them."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), os.fdopen(0, "rb", 0))
    client = client_to(config.target, config.workload, config.settings, config.end_id)
    try:
        with closing(WorkerHealth(LineWriter(config.samples), config.number)) as health, closing(Recorder(config.requests)) as recorder:
            await client.open_streams(1)
            worker = Worker(config, client, recorder, health)
            report({"ready": True})
            with watched_collections(health.pause):
                watches = [asyncio.create_task(probe_lag(health.lag)), asyncio.create_task(_tick(worker))]
                try:
                    await _obey(worker, orders)
                finally:
                    for watch in watches:
                        watch.cancel()
    finally:
        await client.close()
    report({"closed": client.transport_facts() | {"loop": loop_name()}})


async def _obey(worker: Worker, orders: asyncio.StreamReader) -> None:
    """Execute one order after another; a phase and a model switch run while further orders are read. Raises what one of them raised."""
    running: set[asyncio.Task[None]] = set()
    reading = asyncio.create_task(orders.readline())
    try:
        while True:
            done, _ = await asyncio.wait([reading, *running], return_when=asyncio.FIRST_COMPLETED)
            for task in running & done:
                task.result()
            running -= done
            if not reading.done():
                continue
            order = json.loads(reading.result() or b'{"do":"close"}')
            if order["do"] == "close":
                break
            if order["do"] in ("prepare_phase", "run_phase", "switch"):
                running.add(asyncio.create_task(_answer(worker, order)))
            else:
                getattr(worker, order["do"])(order)
            reading = asyncio.create_task(orders.readline())
    except Exception:
        worker.broken = True
        raise
    finally:
        if running:  # trtbench is gone, or an order has failed: what is in flight is cancelled and recorded
            worker.stop({"how": "cancel"})
            await asyncio.wait(running)
    for task in running:
        task.result()


async def _answer(worker: Worker, order: dict[str, Any]) -> None:
    row = await getattr(worker, order["do"])(order)
    if not worker.broken:  # otherwise a phase that was cut short would be taken for a finished one
        report(row)


async def _tick(worker: Worker) -> None:
    while True:
        await asyncio.sleep(_REPORT_S)
        worker.tick()


def main() -> int:
    for signum in (signal.SIGINT, signal.SIGTERM):  # the whole process group gets them; trtbench sends an order instead
        signal.signal(signum, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_S)
    with open(0, "rb", 0, closefd=False) as orders:  # unbuffered, because the event loop reads the next line
        config = WorkerConfig.from_line(orders.readline())
    loop = new_loop()
    try:
        loop.run_until_complete(serve(config))
    except (ConnectError, UserError, OSError) as error:
        number, file = getattr(error, "errno", None), getattr(error, "filename", None)
        said = (number and getattr(error, "strerror", None)) or str(error)
        report({"fault": said, "kind": type(error).__name__, "errno": number, "file": file})
        return 1
    finally:
        loop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
