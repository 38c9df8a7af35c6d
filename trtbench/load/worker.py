"""A load worker: the process that sends a share of the plan. `python -m trtbench.load.worker`

It does nothing else, so that no report, progress bar or server in the same process can delay a timestamp. It reads orders as JSON lines
from standard input, first its WorkerConfig, and writes reports as JSON lines to standard output. It ends when standard input ends, so it
never outlives trtbench.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, TypeAdapter

from trtbench.client.protocol import Client, ConnectError, SwitchingClient, Target
from trtbench.client.registry import client_to, target_from_json, target_to_json
from trtbench.errors import UserError
from trtbench.load.attempts import Attempts, StopSignal
from trtbench.load.deadline_timer import DeadlineTimer
from trtbench.load.error_streak import ErrorStreak
from trtbench.load.generator import Generator, PhaseRun
from trtbench.load.orders import (
    Close,
    Closed,
    Fault,
    PartOfPhase,
    PhaseDone,
    Prepared,
    PreparePhase,
    Progress,
    Ready,
    RenewStreams,
    Report,
    RunPhase,
    SkipPhase,
    StopPhase,
    StopWay,
    Switched,
    SwitchModel,
    TakePlan,
    order_of,
    report_line,
)
from trtbench.load.share import Share
from trtbench.load.tally import LoadProgress, Recorder
from trtbench.load.worker_health import WorkerHealth
from trtbench.plan.plan import Phase
from trtbench.plan.plan_file import load_plan
from trtbench.rundir.event_kinds import ClientFacts
from trtbench.rundir.latency_limits import LatencyLimit
from trtbench.rundir.lines import LineWriter
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import cpu_ns
from trtbench.system.event_loop import loop_name, new_loop, no_collections, probe_lag, watched_collections

_REPORT_S = 0.25
_SWITCH_S = 0.0002  # the recorder's thread returns the interpreter to the event loop within this time


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs to know. `watch`: it reports each request that ended, judged by `limits`."""

    number: int
    plan: Path
    requests: Path
    samples: Path
    target: Annotated[Target, PlainValidator(target_from_json), PlainSerializer(target_to_json)]
    workload: Workload
    settings: ClientSettings
    end_id: int
    timeout_s: float
    drain_s: float
    watch: bool = False
    consecutive_errors: int = 0
    limits: tuple[LatencyLimit, ...] = ()

    def to_line(self) -> bytes:
        return _CONFIG.dump_json(self) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> WorkerConfig:
        return _CONFIG.validate_json(line)


_CONFIG = TypeAdapter(WorkerConfig)


class Worker:
    """Executes orders."""

    def __init__(self, config: WorkerConfig, client: Client, recorder: Recorder, health: WorkerHealth) -> None:
        self._plan = load_plan(config.plan)
        self._health = health
        self._progress = LoadProgress(
            finished=[] if config.watch else None, streak=ErrorStreak(config.consecutive_errors), limits=config.limits
        )
        self._client = client
        attempts = Attempts(client, config.timeout_s, config.settings.retries, config.settings.retry_delay_s)
        self._generator = Generator(attempts, recorder, self._progress, DeadlineTimer(), config.drain_s, config.number)
        self._stop = StopSignal()
        self._run: PhaseRun | None = None
        self._undisturbed = ExitStack()
        self.broken = False
        """Whether the worker has failed. The process then ends with a report of the reason."""

    async def carry_out(self, order: PreparePhase | RunPhase | SwitchModel) -> Report:
        """Execute an order that takes time, and return the report of its end. Further orders are executed meanwhile."""
        if isinstance(order, PreparePhase):
            return await self._prepare_phase(order.part)
        if isinstance(order, RunPhase):
            return await self._run_phase(order.start_ns)
        assert isinstance(self._client, SwitchingClient), "reloads are refused where the client of the server cannot switch"
        await self._client.switch_model(order.model)
        return Switched(order.model)

    def execute(self, order: SkipPhase | StopPhase | TakePlan | RenewStreams) -> None:
        """Execute an order that is done at once and has no report."""
        if isinstance(order, SkipPhase):
            self._generator.skip(self._phase(order.part), self._share(order.part))
        elif isinstance(order, StopPhase):
            self.stop_phase(order.way)
        elif isinstance(order, TakePlan):
            self._plan = load_plan(order.plan)
        else:
            self._client.renew_streams()

    async def _prepare_phase(self, part: PartOfPhase) -> Prepared:
        self._stop = StopSignal()
        self._run = await self._generator.prepare_phase(self._phase(part), self._share(part), self._stop)
        self._undisturbed.enter_context(no_collections())
        return Prepared()

    async def _run_phase(self, start_ns: int) -> PhaseDone:
        assert self._run, "prepare comes first"
        used_ns = cpu_ns()
        with self._undisturbed:
            result = await self._run.run_phase(start_ns)
        self._run = None
        return PhaseDone(result, cpu_ns() - used_ns, self.progress())

    def stop_phase(self, way: StopWay) -> None:
        getattr(self._stop, way)()

    def tick(self) -> None:
        self._health.sample()
        if self._run:
            report(self.progress())

    def progress(self) -> Progress:
        progress = self._progress
        return Progress(progress.counts, progress.take_finished(), progress.over_until_ns, progress.streak.counted)

    def _phase(self, part: PartOfPhase) -> Phase:
        stage = self._plan.stages[part.stage]
        return stage.warmup if part.warmup else stage.measured

    def _share(self, part: PartOfPhase) -> Share:
        return Share(part.worker, part.workers)


def report(said: Report) -> None:
    """Write a report to standard output without buffering. If trtbench is gone, the report is lost."""
    with suppress(BrokenPipeError):
        os.write(1, report_line(said))


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
            report(Ready())
            with watched_collections(health.pause):
                watches = [asyncio.create_task(probe_lag(health.lag)), asyncio.create_task(_tick(worker))]
                try:
                    await _obey(worker, orders)
                finally:
                    for watch in watches:
                        watch.cancel()
    finally:
        await client.close()
    report(Closed(ClientFacts(**client.transport_facts() | {"loop": loop_name()})))


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
            order = order_of(line) if (line := reading.result()) else Close()
            if isinstance(order, Close):
                break
            if isinstance(order, (PreparePhase, RunPhase, SwitchModel)):
                running.add(asyncio.create_task(_answer(worker, order)))
            else:
                worker.execute(order)
            reading = asyncio.create_task(orders.readline())
    except Exception:
        worker.broken = True
        raise
    finally:
        if running:  # trtbench is gone, or an order has failed: what is in flight is cancelled and recorded
            worker.stop_phase("cancel")
            await asyncio.wait(running)
    for task in running:
        task.result()


async def _answer(worker: Worker, order: PreparePhase | RunPhase | SwitchModel) -> None:
    said = await worker.carry_out(order)
    if not worker.broken:  # otherwise a phase that was cut short would be taken for a finished one
        report(said)


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
        message = (number and getattr(error, "strerror", None)) or str(error)
        report(Fault(message, type(error).__name__, number, file))
        return 1
    finally:
        loop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
