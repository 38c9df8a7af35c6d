"""Measures one running deployment: sends the plan's load, samples telemetry, and handles every way in which the load can end early."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Protocol

from trtbench.client.protocol import NO_END_ID, ConnectError, Target
from trtbench.load.load_phases import BeforeStage, Ended, LoadHooks, run_load
from trtbench.load.tally import LoadProgress
from trtbench.load.worker import WorkerConfig
from trtbench.load.worker_handle import WorkerError
from trtbench.load.worker_pool import WorkerPool
from trtbench.plan.plan import Plan
from trtbench.plan.plan_file import save_plan
from trtbench.run.log import RunLog
from trtbench.rundir.directory import DeploymentDirectory
from trtbench.rundir.event_kinds import EventData, Interrupted, LoadClient, StageStarted, TelemetryFinished
from trtbench.rundir.latency_limits import LatencyLimit
from trtbench.scenario.scenario import Scenario
from trtbench.serving.server.autopsy import Death
from trtbench.serving.server.server import ServerError
from trtbench.system.clock import seconds_ns, sleep_s
from trtbench.system.event_loop import within_interrupt
from trtbench.system.interrupts import interrupts_call
from trtbench.telemetry.borders import Border
from trtbench.telemetry.sampler import Sampler
from trtbench.telemetry.sources import SampledServer, SamplerConfig

_WATCH_S = 0.1
_LAST_SNAPSHOT_S = 1.0  # from an interrupt on; a server that answers does so in milliseconds


EmitEvent = Callable[[EventData], None]


class Companion(Protocol):
    """The actions of an experiment on a server while the load runs."""

    async def run(self, pool: WorkerPool, opened: asyncio.Event, stop: asyncio.Event, emit: EmitEvent) -> None:
        """Act from `opened`, when the first stage begins, until `stop`. A step that has begun is completed first."""


@dataclass(frozen=True)
class ServerUnderLoad:
    """A server, or several behind a balancer, as the load needs it.

    `death()` is None while all of them run. For an existing server it is None, and so are the pids. `models_of_classes` are the models
    that receive the requests in place of the target's, by length class.
    """

    target: Target
    sampled: tuple[SampledServer, ...]
    end_id: int
    balancer_pid: int | None = None
    death: Callable[[], Death | None] | None = None
    companion: Companion | None = None
    before_stage: BeforeStage | None = None
    revise: Callable[[Any], Any] = lambda row: row  # of each request's row, when the load is over
    models_of_classes: Mapping[str, str] = field(default_factory=dict)


def load_server(
    server: ServerUnderLoad, plan: Plan, scenario: Scenario, directory: DeploymentDirectory, log: RunLog, progress: LoadProgress
) -> tuple[Ended, int | None]:
    """Send the plan's load to `server` and record it in `directory`. Returns how the load ended, and the signal that interrupted it.

    The first SIGINT lets requests in flight end, the second cancels them, and SIGTERM cancels them immediately. Raises OSError if
    records cannot be written, WorkerError if a worker ended unexpectedly, and ServerError if the server cannot be reached.
    """
    save_plan(plan, directory.plan_jsonl)

    def send(pool: WorkerPool, hooks: LoadHooks) -> Awaitable[Ended]:
        return run_load(plan, scenario.stop, pool, hooks, scenario.client.workers)

    return drive_load(server, scenario, directory, log, progress, send)


SendLoad = Callable[[WorkerPool, LoadHooks], Awaitable[Ended]]
"""Sends load by a pool of workers; the load ends when it returns."""


def drive_load(
    server: ServerUnderLoad,
    scenario: Scenario,
    directory: DeploymentDirectory,
    log: RunLog,
    progress: LoadProgress,
    send: SendLoad,
    limits: tuple[LatencyLimit, ...] | None = None,
) -> tuple[Ended, int | None]:
    """Send load by `send` as `load_server` sends that of a plan. `limits`: workers judge each request by them, for a watch of a phase."""
    try:
        with Sampler(sampler_config(server, scenario), directory.samples_jsonl) as sampler:
            pool = WorkerPool(_worker_config(server, scenario, directory, limits), progress)
            ended, signum = asyncio.run(_load(server, directory, log, sampler, pool, send))
            if ended == "done":
                _settle(sampler, scenario)
        log.write(TelemetryFinished(sources=sampler.tallies), directory.name)
        return ended, signum
    finally:
        directory.seal(server.revise)


def sampler_config(server: ServerUnderLoad, scenario: Scenario) -> SamplerConfig:
    """The configuration of the sampler for `server`. GPUs are sampled only if this run started the server."""
    return SamplerConfig(
        servers=server.sampled,
        model="" if server.companion else server.target.model,  # a companion may load a model of another name
        client_pid=os.getpid(),
        interval_ns=seconds_ns(scenario.telemetry.interval_ms / 1000),
        gpu=any(one.pid is not None for one in server.sampled),
        tls=scenario.client.tls,
        headers=scenario.client.headers,
        balancer_pid=server.balancer_pid,
        engine_model=server.target.metrics_model,
        models_of_classes=server.models_of_classes,
    )


async def _load(
    server: ServerUnderLoad,
    directory: DeploymentDirectory,
    log: RunLog,
    sampler: Sampler,
    pool: WorkerPool,
    send: SendLoad,
) -> tuple[Ended, int | None]:
    watch = asyncio.create_task(_watch(server, pool))
    with interrupts_call(_interrupts(pool, lambda data: log.write(data, directory.name))) as caught:
        try:
            async with _accompanied(server.companion, pool, lambda data: log.write(data, directory.name)) as event:
                before_stage = _when_sampled(sampler, server.before_stage)
                hooks = LoadHooks(
                    event=event,
                    snapshot=lambda completed: _snapshot(sampler, completed, lambda: pool.reason is not None),
                    before_stage=before_stage,
                )
                ended = await send(pool, hooks)
        except ConnectError as error:
            raise ServerError(str(error)) from error
        except WorkerError:
            if not caught:
                raise
            ended = "interrupted"  # a worker was too busy to obey
        finally:
            watch.cancel()
            log.write(LoadClient(workers=await pool.close()), directory.name)
    if ended == "server_lost" and server.death and (death := server.death()):
        log.write(death.facts(), directory.name)
    return ended, caught[0] if caught else None


def _interrupts(pool: WorkerPool, emit: EmitEvent) -> Callable[[int], None]:
    """A handler that passes interrupts to the pool. The second one does not wait for requests in flight; further ones change nothing."""
    signals = count(1)

    def interrupt(signum: int) -> None:
        nth = next(signals)
        pool.interrupt()
        if signum == signal.SIGTERM:
            pool.interrupt()
        if nth <= 2:
            emit(Interrupted(level=2 if signum == signal.SIGTERM else nth))

    return interrupt


def _worker_config(
    server: ServerUnderLoad, scenario: Scenario, directory: DeploymentDirectory, limits: tuple[LatencyLimit, ...] | None
) -> WorkerConfig:
    return WorkerConfig(
        number=0,
        plan=directory.plan_jsonl,
        requests=directory.requests_jsonl(),
        samples=directory.samples_jsonl,
        target=server.target,
        workload=scenario.workload,
        settings=scenario.client,
        end_id=NO_END_ID if scenario.workload.ignore_eos else server.end_id,
        timeout_s=scenario.stop.timeout_s,
        drain_s=scenario.stop.drain_s,
        watch=limits is not None or scenario.stop.stability is not None,
        consecutive_errors=scenario.stop.consecutive_errors or 0,
        limits=limits or (),
    )


def _settle(sampler: Sampler, scenario: Scenario) -> None:
    """Take a last reading, two sampling intervals after the drain, because gauges lag. Anything still in use then was not released."""
    sleep_s(2 * scenario.telemetry.interval_ms / 1000)
    sampler.snapshot()


def _when_sampled(sampler: Sampler, then: BeforeStage | None) -> BeforeStage:
    """Call `then` once the sampler runs, because the sampler and the first load worker start at the same time."""

    async def before_stage(stage: str, stopped: Callable[[], bool]) -> None:
        await asyncio.to_thread(sampler.wait_ready)
        if then:
            await then(stage, stopped)

    return before_stage


async def _snapshot(sampler: Sampler, completed: int, interrupted: Callable[[], bool]) -> Border:
    """Read a border in a thread, so that the loop still receives answers of an earlier stage. After an interrupt it waits only briefly."""
    border = await within_interrupt(partial(sampler.read_border, completed), interrupted, _LAST_SNAPSHOT_S) or Border([])
    if border.samples:
        sampler.write(border.samples)
    return border


@asynccontextmanager
async def _accompanied(companion: Companion | None, pool: WorkerPool, emit: EmitEvent) -> AsyncIterator[EmitEvent]:
    """Run the companion during the load, from its first stage on; yields the function to which the load passes its events.

    An exception in the companion ends the load at once, and is raised.
    """
    if companion is None:
        yield emit
        return
    opened, stop = asyncio.Event(), asyncio.Event()

    def event(data: EventData) -> None:
        emit(data)
        if isinstance(data, StageStarted):
            opened.set()

    def end_load(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():
            for _ in range(2):  # the second does not wait for what is in flight
                pool.interrupt()

    task = asyncio.create_task(companion.run(pool, opened, stop, emit))
    task.add_done_callback(end_load)
    try:
        yield event
    finally:
        stop.set()
        await task


async def _watch(server: ServerUnderLoad, pool: WorkerPool) -> None:
    """Detect the server's death at once, because requests in flight would otherwise wait for their time limit."""
    while server.death:
        if server.death():
            pool.server_lost()
            return
        await asyncio.sleep(_WATCH_S)
