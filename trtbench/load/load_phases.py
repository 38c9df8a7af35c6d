"""The load: runs every stage of a plan against one deployment, to its end or until its figures are steady."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, Protocol

from trtbench.load.generator import PhaseResult
from trtbench.load.share import workers_for_cores, workers_for_streams
from trtbench.load.worker_pool import WorkerPool
from trtbench.plan.plan import Plan, StagePlan
from trtbench.rundir.event_kinds import EventData, LoadStopped, StageFinished, StageStarted
from trtbench.rundir.latency_limits import INCOMPLETE, FinishedRequest
from trtbench.scenario.load.measurement import Stability, Stop
from trtbench.system.clock import now_ns, seconds_ns
from trtbench.telemetry.borders import Border


class PhaseWatch(Protocol):
    """Decides, from the requests that are over, when a measured phase has lasted long enough."""

    def add(self, finished: Iterable[FinishedRequest]) -> None:
        """Add requests that are over."""

    def reached(self, until_ns: int) -> bool:
        """Whether the phase may end. Every request that ended before `until_ns` was added."""


class Steadiness:
    """Decides when figures are steady, from windows of equal length after `start_ns`. A request counts in the window in which it ended.

    Figures are steady if over the last `rule.windows` whole windows neither the rate of completions nor the p99 of latency (nearest rank)
    differs from its mean over those windows by more than the ratio `rule.ratio`.
    """

    def __init__(self, rule: Stability, start_ns: int) -> None:
        self._rule, self._start_ns = rule, start_ns
        self._window_ns = seconds_ns(rule.window_s)
        self._latencies_ns: defaultdict[int, list[int]] = defaultdict(list)

    def add(self, finished: Iterable[FinishedRequest]) -> None:
        """Add requests that are over; only completed ones count."""
        for due_ns, done_ns, broken in finished:
            if broken != INCOMPLETE:
                self._latencies_ns[(done_ns - self._start_ns) // self._window_ns].append(done_ns - due_ns)

    def reached(self, until_ns: int) -> bool:
        """Whether the windows that ended before `until_ns` are steady. Every request that ended before it must have been added."""
        over = (until_ns - self._start_ns) // self._window_ns
        last = [self._latencies_ns.get(window, []) for window in range(over - self._rule.windows, over)]
        if over < self._rule.windows or not all(last):
            return False
        return self._close([len(window) for window in last]) and self._close([_p99(window) for window in last])

    def _close(self, values: Sequence[int]) -> bool:
        mean = sum(values) / len(values)
        return all(abs(value - mean) <= self._rule.ratio * mean for value in values)


def _p99(latencies_ns: list[int]) -> int:
    return sorted(latencies_ns)[ceil(0.99 * len(latencies_ns)) - 1]


BeforeStage = Callable[[str, Callable[[], bool]], Coroutine[Any, Any, None]]
"""Called with a stage's name and a function that reports whether the load was stopped; returns when the stage may begin."""

Ended = Literal["done", "interrupted", "error_bound", "server_lost"]
_LATE_S = 1.0  # after this time every worker has reported its completed requests
_LOOK_S = 0.25


@dataclass(frozen=True)
class LoadHooks:
    """What the load calls in the code that runs it, always on the event loop's thread.

    `event` records StageStarted, StageFinished and LoadStopped. `snapshot(completed)` reads the server's counters between two phases;
    `completed` is the number of requests that completed since the last snapshot. `watch` makes what may end a measured phase early, in
    place of the scenario's rule of stability.
    """

    event: Callable[[EventData], None]
    snapshot: Callable[[int], Awaitable[Border]]
    before_stage: BeforeStage | None = None
    watch: Callable[[], PhaseWatch] | None = None


async def run_load(plan: Plan, limits: Stop, pool: WorkerPool, hooks: LoadHooks, workers: int | None = None) -> Ended:
    """Run the stages one after another, each with its drain, until the last one, an interrupt, a lost server or the error bound.

    `workers` is the number of workers; None means as many as warm-ups and earlier stages show to be needed, up to this machine's cores.

    Every planned request gets a record, also in stages that are not run. A failure of a request is not raised, only OSError if records
    cannot be written, and WorkerError.
    """
    level = 0.0
    for number, part in enumerate(plan.stages):
        await pool.grow(workers or _workers(part, pool, level))
        ended, opened = await _run_stage(number, part, pool, limits, hooks, workers)
        level = part.stage.level
        if ended != "done":
            _give_up(plan, number, ended, opened, pool, hooks)
            return ended
    return "done"


def _workers(part: StagePlan, pool: WorkerPool, last_level: float) -> int:
    """The workers for a stage after one of `last_level`, which is 0 before the first stage."""
    stage, most = part.stage, os.cpu_count() or 1
    measured = workers_for_cores(pool.workers, pool.cores, stage.level / last_level, most) if last_level else 1
    return max(measured, workers_for_streams(int(stage.level)) if stage.mode == "concurrency" else 1)


async def _run_stage(
    number: int, part: StagePlan, pool: WorkerPool, limits: Stop, hooks: LoadHooks, workers: int | None
) -> tuple[Ended, bool]:
    """Run the warm-up, if the stage has one, and the measured phase, with a snapshot before and after each.

    Returns how the stage ended, and whether the measured phase began."""
    if hooks.before_stage:
        await hooks.before_stage(part.stage.label, lambda: pool.reason is not None)
    warmed_up = 0
    if pool.reason:
        pool.skip(number, part.warmup)
    elif part.warmup.requests:
        await pool.prepare_phase(number, part.warmup)
        await hooks.snapshot(0)
        warmed_up = (await pool.run_phase()).completed
        await pool.grow(workers or _workers(part, pool, part.stage.level))
    if not pool.reason:
        await pool.prepare_phase(number, part.measured)
    if pool.reason:
        return pool.reason, False
    stage = part.stage
    planned = part.measured.planned
    hooks.event(StageStarted(name=stage.label, mode=stage.mode, asked=stage.level, planned=planned, workers=pool.workers))
    opened = await hooks.snapshot(warmed_up)
    result = await _watched(pool, watch) if (watch := _watch(limits, hooks)) else await pool.run_phase()
    closed = await hooks.snapshot(result.completed)
    ended: Ended | Literal["steady"] = result.ended
    if pool.reason is None and limits.error_ratio is not None and _error_ratio(result) > limits.error_ratio:
        ended = "error_bound"
    counts = opened.counted_ns, closed.counted_ns, closed.not_counted
    window = (result.start_ns, result.end_ns, result.planned)
    hooks.event(StageFinished(stage.label, stage.mode, stage.level, *window, ended, *counts))
    return "done" if ended == "steady" else ended, True


def _watch(limits: Stop, hooks: LoadHooks) -> PhaseWatch | None:
    if hooks.watch:
        return hooks.watch()
    return Steadiness(limits.stability, now_ns()) if limits.stability else None


async def _watched(pool: WorkerPool, watch: PhaseWatch) -> PhaseResult:
    """Run the prepared phase until `watch` ends it, or to its own end."""
    pool.on_finished = watch.add
    run = asyncio.create_task(pool.run_phase())
    try:
        while not run.done():
            if watch.reached(now_ns() - seconds_ns(_LATE_S)):
                pool.steady()
                break
            await asyncio.wait([run], timeout=_LOOK_S)
        return await run
    finally:
        pool.on_finished = lambda finished: None
        run.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([run])


def _error_ratio(result: PhaseResult) -> float:
    """1 - (completed + cancelled as planned) / planned, or 0 if nothing was planned."""
    return 1 - (result.completed + result.cancelled_as_planned) / result.planned if result.planned else 0.0


def _give_up(plan: Plan, number: int, ended: Ended, opened: bool, pool: WorkerPool, hooks: LoadHooks) -> None:
    """Record everything that is not run any more, from stage `number` on, which ended the load."""
    if not opened:
        pool.skip(number, plan.stages[number].measured)
    for later, part in enumerate(plan.stages[number + 1 :], number + 1):
        pool.skip(later, part.warmup)
        pool.skip(later, part.measured)
    not_run = [part.stage.label for part in plan.stages[number + opened :]]
    hooks.event(LoadStopped(why=ended, stage=plan.stages[number].stage.label, stages_not_run=not_run))
