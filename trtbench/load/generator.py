"""Generator: carries out one phase of a plan, in a closed or an open loop, and accounts for every planned request."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from trtbench.clock import now_ns, seconds_ns, sleep_until
from trtbench.load.client import Client, Limits
from trtbench.load.event_loop import wake_at
from trtbench.load.plan import Phase
from trtbench.load.progress import LoadProgress
from trtbench.load.recorder import Recorder
from trtbench.load.stop import StopSignal
from trtbench.records import Outcome, RequestRecord

_FAILURE_PAUSE_NS = 100_000_000
"""Between a failure and the same user's next request: a dead server would otherwise be asked thousands of times a second."""


@dataclass(frozen=True)
class PhaseResult:
    """Instants as in StageWindow; planned = the records written, completed among them."""

    start_ns: int
    end_ns: int
    planned: int
    completed: int
    ended: Literal["done", "interrupted", "server_lost"]

    @property
    def error_ratio(self) -> float:
        """1 - completed / planned (metrics.md); 0 of nothing."""
        return 1 - self.completed / self.planned if self.planned else 0.0


@dataclass(frozen=True)
class Generator:
    """Runs phases one after another on the current event loop.

    `timeout_s`: a request's own limit, from due. `drain_s`: longest wait for what is in flight after an interrupt.
    """

    client: Client
    recorder: Recorder
    stop: StopSignal
    progress: LoadProgress
    timeout_s: float
    drain_s: float

    async def run(self, phase: Phase) -> PhaseResult:
        """Send the phase and wait for all of it. Raises only what is no fault of a request: OSError of the recorder, a bug."""
        return await _PhaseRun(self, phase).run()

    def skip(self, phase: Phase) -> None:
        """Account for a phase that will not be run."""
        for record in _never_begun(phase, 0, now_ns()):
            self.recorder.append(record)


class _PhaseRun:
    """One phase being run.

    Every planned request gets exactly one record: a request begun is in `_begun` until its record is written, and what is left when
    the phase is over is written as never sent.
    """

    def __init__(self, generator: Generator, phase: Phase) -> None:
        self._generator = generator
        self._stop = generator.stop
        self._phase = phase
        self._bodies = [generator.client.encode(prompt) for prompt in phase.prompts]
        self._timeout_ns = seconds_ns(generator.timeout_s)
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrivals: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._fault: BaseException | None = None
        self._begun: dict[int, RequestRecord] = {}
        self._taken = self._written = self._completed = 0
        self._start_ns = now_ns()
        self._end_ns = None if phase.duration_s is None else self._start_ns + seconds_ns(phase.duration_s)

    async def run(self) -> PhaseResult:
        phase = self._phase
        self._generator.progress.begin(phase.stage.label, phase.warmup, phase.planned, self._start_ns, self._end_ns)
        try:
            self._start()
            if self._tasks:
                await self._wait()
        finally:
            await self._cancel()
        if self._fault:
            raise self._fault
        self._write_never_sent()
        return PhaseResult(self._start_ns, now_ns(), self._written, self._completed, self._stop.reason or "done")

    def _start(self) -> None:
        if self._phase.due_offsets_ns is not None:
            self._arrivals = self._spawn(self._open_loop(self._phase.due_offsets_ns.tolist()))
            return
        users = self._phase.stage.concurrency or 1
        for _ in range(users if self._phase.requests is None else min(users, self._phase.requests)):
            self._spawn(self._user())

    async def _wait(self) -> None:
        """Until all is done; once stopped, for no longer than the drain."""
        if await _first(self._idle.wait(), self._stop.wait_draining()):
            return
        if self._arrivals:
            self._arrivals.cancel()  # it may sleep until an arrival that is far away
        await _first(self._idle.wait(), self._stop.wait_cancelling(), timeout_s=self._generator.drain_s)

    async def _cancel(self) -> None:
        """Whatever still runs: nothing, unless stopped."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) and not self._fault:
            self._fault = fault
        if not self._tasks or self._fault:
            self._idle.set()

    async def _user(self) -> None:
        """One user of the closed loop: the next request is due the instant the one before is done, after a failure a pause later."""
        due_ns = self._start_ns
        while self._may_take():
            record = self._begin(due_ns)
            await self._send(record)
            due_ns = record.done_ns or now_ns()
            if record.outcome is not Outcome.COMPLETED:
                due_ns += _FAILURE_PAUSE_NS
                await sleep_until(due_ns)

    def _may_take(self) -> bool:
        in_time = self._end_ns is None or now_ns() < self._end_ns
        in_number = self._phase.requests is None or self._taken < self._phase.requests
        return in_time and in_number and not self._stop.is_set

    async def _open_loop(self, due_offsets_ns: list[int]) -> None:
        """Each request at its own absolute instant, however many are in flight; one that is late is sent late."""
        for offset_ns in due_offsets_ns:
            due_ns = self._start_ns + offset_ns
            await wake_at(due_ns)
            if self._stop.is_set:
                return
            self._spawn(self._send(self._begin(due_ns)))

    def _begin(self, due_ns: int) -> RequestRecord:
        record = _record(self._phase, self._taken, due_ns)
        self._begun[record.index] = record
        self._taken += 1
        self._generator.progress.count_sent()
        return record

    async def _send(self, record: RequestRecord) -> None:
        body = self._bodies[record.prompt - self._phase.first_prompt]
        try:
            await self._generator.client.send(record, body, Limits(record.due_ns + self._timeout_ns))
        except asyncio.CancelledError:
            if self._stop.reason == "server_lost":
                record.outcome, record.error = Outcome.CONNECTION, "the server is gone"
            raise
        except Exception as error:
            record.outcome, record.error = Outcome.OTHER, f"fault of the client: {error!r}"
            raise
        finally:
            del self._begun[record.index]
            self._generator.progress.count_done(record)
            self._write(record)

    def _write(self, record: RequestRecord) -> None:
        self._written += 1
        self._completed += record.outcome is Outcome.COMPLETED
        self._generator.recorder.append(record)

    def _write_never_sent(self) -> None:
        """What was begun but never ran, and what was planned and not begun."""
        for record in self._begun.values():
            self._write(record)
        for record in _never_begun(self._phase, self._taken, self._start_ns):
            self._write(record)


async def _first(wanted: Coroutine[Any, Any, Any], other: Coroutine[Any, Any, Any], timeout_s: float | None = None) -> bool:
    """Wait for either; True when it was `wanted`."""
    waits = [asyncio.create_task(wanted), asyncio.create_task(other)]
    await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    done = waits[0].done()
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)
    return done


def _record(phase: Phase, index: int, due_ns: int) -> RequestRecord:
    number = index % len(phase.prompts)
    prompt = phase.prompts[number]
    return RequestRecord(
        index=index,
        stage=phase.stage.label,
        warmup=phase.warmup,
        prompt=phase.first_prompt + number,
        input_tokens=len(prompt.input_ids),
        asked_output_tokens=prompt.output_tokens,
        due_ns=due_ns,
    )


def _never_begun(phase: Phase, first: int, start_ns: int) -> Iterator[RequestRecord]:
    """Records of what was planned from request `first` on; due at its own instant, in a closed loop when it was given up."""
    for index in range(first, phase.planned or 0):
        offsets = phase.due_offsets_ns
        yield _record(phase, index, now_ns() if offsets is None else start_ns + int(offsets[index]))
