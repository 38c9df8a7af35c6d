"""WorkerPool: the workers of one deployment's load, which begin each phase at the same instant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

from trtbench.client.protocol import ConnectError
from trtbench.load.error_streak import failed_in_a_row
from trtbench.load.generator import PhaseResult
from trtbench.load.orders import (
    Answer,
    Order,
    PartOfPhase,
    PhaseDone,
    Prepared,
    PreparePhase,
    RenewStreams,
    RunPhase,
    SkipPhase,
    StopPhase,
    StopWay,
    TakePlan,
)
from trtbench.load.tally import Counts, LoadProgress
from trtbench.load.worker import WorkerConfig
from trtbench.load.worker_handle import Finished, WorkerHandle
from trtbench.plan.plan import Phase
from trtbench.rundir.event_kinds import ClientFacts
from trtbench.rundir.latency_limits import FinishedRequest
from trtbench.system.clock import now_ns, seconds_ns

_HEAD_START_S = 0.02  # from the order to the common start, so that every worker has read the order by then
_WATCH_S = 0.25
_STARTS_AT_ONCE, _FIRST_S = 16, 5.0
_OBEY_S = 20.0  # how long a worker may take to cancel: recording some hundred thousand requests as never sent takes seconds


LoadEnd = Literal["interrupted", "server_lost", "error_bound"]


class WorkerPool:
    """The workers of a load. `reason` is why the load has to stop, or None; `cores` is the CPU that all workers used in the last phase."""

    def __init__(self, config: WorkerConfig, progress: LoadProgress) -> None:
        self.reason: LoadEnd | None = None
        self.cores = 0.0
        self.on_finished: Finished = lambda finished: None
        self._config, self._progress = config, progress
        self._handles: list[WorkerHandle] = []
        self._numbers = count()
        self._stops: list[StopWay] = []
        self._stopped = asyncio.Event()

    async def grow(self, workers: int) -> None:
        """Start workers, several at once, until there are `workers` of them. After `interrupt` or `server_lost` no more are started.

        ConnectError if not even the first reaches the server; the load continues without later ones that do not.
        """
        numbers = [next(self._numbers) for _ in range(len(self._handles), workers)]
        for first in range(0, len(numbers), _STARTS_AT_ONCE):
            if self._stopped.is_set():
                return
            await self._start(numbers[first : first + _STARTS_AT_ONCE])

    async def _start(self, numbers: list[int]) -> None:
        starts = [asyncio.create_task(WorkerHandle.start(self._config_of(number), self._finished)) for number in numbers]
        stopped = asyncio.create_task(self._stopped.wait())
        everyone = asyncio.gather(*starts, return_exceptions=True)
        either: list[asyncio.Future[Any]] = [everyone, stopped]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not everyone.done() and not self._handles:  # one worker is needed to record what is not run
            await asyncio.wait(starts[:1], timeout=_FIRST_S)
        for task in (stopped, *starts):
            task.cancel()
        started = await asyncio.gather(*starts, return_exceptions=True)
        self._handles += [handle for handle in started if isinstance(handle, WorkerHandle)]
        for fault in started:
            if isinstance(fault, asyncio.CancelledError) or (self._handles and isinstance(fault, ConnectError)):
                continue
            if isinstance(fault, BaseException):
                raise fault

    @property
    def workers(self) -> int:
        return len(self._handles)

    async def prepare_phase(self, stage: int, phase: Phase) -> None:
        """Prepare a phase of stage number `stage` of the plan in every worker; raises the error with which a worker failed."""
        await self._all([PreparePhase(part) for part in self._parts(stage, phase)], Prepared)
        self._phase = phase

    async def run_phase(self) -> PhaseResult:
        """Start the prepared phase and wait for its end; raises the error with which a worker failed, once the others have ended."""
        phase, start_ns = self._phase, now_ns() + seconds_ns(_HEAD_START_S)
        ends_ns = None if phase.duration_s is None else start_ns + seconds_ns(phase.duration_s)
        self._progress.begin(phase.stage.label, phase.warmup, phase.planned, start_ns, ends_ns)
        for stop in self._stops:  # a stop may have been ordered before there was a phase to stop
            self._order(StopPhase(stop))
        watch = asyncio.create_task(self._watch())
        try:
            answers = await self._all([RunPhase(start_ns)] * self.workers, PhaseDone)
        finally:
            watch.cancel()
        self._progress.counts = self._counts()
        result = _merged([answer.result for answer in answers], self.reason)
        self.cores = sum(answer.cpu_ns for answer in answers) / max(result.end_ns - result.start_ns, 1)
        return result

    def skip(self, stage: int, phase: Phase) -> None:
        """Have the workers record the requests of a phase that will not be run."""
        for handle, part in zip(self._handles, self._parts(stage, phase), strict=True):
            handle.order(SkipPhase(part))

    def take_plan(self, plan: Path) -> None:
        """Have the workers read another plan; the phases that follow are of its stages."""
        self._config = replace(self._config, plan=plan)
        self._order(TakePlan(plan))

    @property
    def over_until_ns(self) -> int:
        """Every request due before this instant is over, and was passed to `on_finished`."""
        return min((handle.over_until_ns for handle in self._handles), default=0)

    def renew(self) -> None:
        """Have the workers use none of their open streams again, because the model was reloaded."""
        self._order(RenewStreams())

    async def switch(self, model: str) -> None:
        """Send requests from now on to another model of the server; returns when all earlier ones are over."""
        await asyncio.gather(*(handle.switch(model) for handle in self._handles))

    def steady(self) -> None:
        """End the running phase, because its figures are steady: send nothing more and wait for what is in flight."""
        self._order(StopPhase("steady"))

    def interrupt(self) -> None:
        """Send nothing more and wait for what is in flight; the second time, cancel that too."""
        self.reason = self.reason or "interrupted"
        self._stop("interrupt")

    def server_lost(self) -> None:
        """Cancel everything, because nothing in flight can be answered any more."""
        self.reason = "server_lost"
        self._stop("server_lost")

    async def close(self) -> list[ClientFacts | None]:
        """End every worker; returns the transport facts of each, or None for one that cannot report them any more."""
        return await asyncio.gather(*(handle.close() for handle in self._handles))

    def _stop(self, way: StopWay) -> None:
        self._stops.append(way)
        self._stopped.set()
        self._order(StopPhase(way))
        if way == "server_lost" or len(self._stops) > 1:
            asyncio.get_running_loop().call_later(_OBEY_S, self._kill_unresponsive)

    def _kill_unresponsive(self) -> None:
        """Kill workers that have not answered, which would otherwise delay the end for ever. What they recorded is in their files."""
        for handle in self._handles:
            if handle.owes:
                handle.kill()

    def _parts(self, stage: int, phase: Phase) -> list[PartOfPhase]:
        return [PartOfPhase(stage, phase.warmup, place, self.workers) for place in range(self.workers)]

    def _order(self, order: Order) -> None:
        for handle in self._handles:
            handle.order(order)

    async def _all(self, orders: Sequence[Order], kind: type[Answer]) -> list[Answer]:
        """Send each worker its order and wait for the answers. If one fails, the others cancel and record, and its error is raised."""
        asked = [asyncio.create_task(handle.ask(order, kind)) for handle, order in zip(self._handles, orders, strict=True)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_EXCEPTION)
        if not all(answer.done() for answer in asked):
            self._order(StopPhase("cancel"))
            await asyncio.wait(asked)
        return [answer.result() for answer in asked]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            self._progress.counts = self._counts()
            self._check_errors()

    def _check_errors(self) -> None:
        """End the load, as an interrupt does, once as many requests in a row have failed as the scenario allows."""
        most = self._config.consecutive_errors
        if most and self.reason is None and failed_in_a_row(handle.streak for handle in self._handles) >= most:
            self.reason = "error_bound"
            self._stop("interrupt")

    def _counts(self) -> Counts:
        return sum((handle.counts for handle in self._handles), Counts())

    def _finished(self, finished: list[FinishedRequest]) -> None:
        self.on_finished(finished)

    def _config_of(self, number: int) -> WorkerConfig:
        return replace(self._config, number=number, requests=self._config.requests.with_name(f"requests-{number}.jsonl"))


def _merged(results: list[PhaseResult], reason: LoadEnd | None) -> PhaseResult:
    def total(name: str) -> int:
        return sum(getattr(result, name) for result in results)

    steady = any(result.ended == "steady" for result in results)
    return PhaseResult(
        start_ns=results[0].start_ns,
        end_ns=max(result.end_ns for result in results),
        planned=total("planned"),
        completed=total("completed"),
        cancelled_as_planned=total("cancelled_as_planned"),
        ended=reason or ("steady" if steady else "done"),
    )
