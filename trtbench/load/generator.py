"""Generator: sends a worker's share of one phase of a plan after another, in closed and open loops."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from trtbench.client.protocol import ConnectError
from trtbench.load.attempts import Attempts, StopSignal
from trtbench.load.deadline_timer import DeadlineTimer
from trtbench.load.share import Share, users
from trtbench.load.tally import LoadProgress, Recorder, Tally
from trtbench.plan.plan import Phase
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import now_ns, seconds_ns

_FAILURE_PAUSE_NS = 100_000_000
"""The pause between a failure and the next request of the same user. Without it, a dead server would get thousands of requests a second."""
_MOST_PREPARED = 256  # streams opened ahead of an open loop, whose number of concurrent requests is not known


@dataclass(frozen=True)
class PhaseResult:
    """The end of a phase. Instants are as in StageFinished; `planned` is the number of records, including completed and cancelled ones."""

    start_ns: int
    end_ns: int
    planned: int
    completed: int
    cancelled_as_planned: int
    ended: Literal["done", "steady", "interrupted", "server_lost", "error_bound"]


@dataclass(frozen=True)
class Generator:
    """Runs phases one after another on the current event loop, as worker number `worker`.

    `drain_s` is the longest wait for requests in flight after a stop.
    """

    attempts: Attempts
    recorder: Recorder
    progress: LoadProgress
    timer: DeadlineTimer
    drain_s: float
    worker: int = 0

    async def prepare_phase(self, phase: Phase, share: Share, stop: StopSignal) -> PhaseRun:
        """Serialise the requests of the share and open its connections. A stop ends the opening."""
        run = PhaseRun(self, phase, share.of(phase), stop)
        if streams := run.streams():
            opening = asyncio.create_task(self.attempts.client.open_streams(streams))
            await _first(asyncio.wait([opening]), stop.wait_draining())
            opening.cancel()
            with suppress(ConnectError, asyncio.CancelledError):  # each request will fail by itself, and be recorded
                await opening
        return run

    def skip(self, phase: Phase, share: Share) -> None:
        """Record the requests of a share of a phase that will not be run."""
        if part := share.of(phase):
            self.tally(phase, part).give_up(now_ns())

    def tally(self, phase: Phase, share: Share) -> Tally:
        return Tally(phase, share, self.worker, self.recorder, self.progress)


class PhaseRun:
    """A share of one phase, which is ready to be run once."""

    def __init__(self, generator: Generator, phase: Phase, share: Share | None, stop: StopSignal) -> None:
        self._generator, self._phase, self._share, self._stop = generator, phase, share, stop
        self._tally = generator.tally(phase, share or Share())
        encode = generator.attempts.client.encode_request
        self._bodies = {position: encode(phase.prompts[position]) for position in (share.prompts(phase) if share else ())}
        self._units: Iterator[int] = share.units(phase) if share else iter(())
        self._places = asyncio.Semaphore(places) if share and (places := share.places(phase)) else None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._fault: BaseException | None = None
        self._start_ns = 0
        self._end_ns: int | None = None

    def streams(self) -> int:
        """The number of streams to open in advance: that of concurrent requests, as far as it is known before the phase."""
        if not self._share:
            return 0
        if self._phase.due_offsets_ns is None:
            return len(self._share.of_range(users(self._phase)))
        places = self._share.places(self._phase) or _MOST_PREPARED
        return min(len(self._share.of_range(len(self._phase.due_offsets_ns))), places, _MOST_PREPARED)

    async def run_phase(self, start_ns: int) -> PhaseResult:
        """Send everything from the instant `start_ns` on and wait for the answers.

        A failure of a request is not raised, only an OSError of the recorder or a bug.
        """
        phase = self._phase
        self._start_ns = start_ns
        self._end_ns = None if phase.duration_s is None else start_ns + seconds_ns(phase.duration_s)
        self._generator.progress.begin(phase.stage.label, phase.warmup, phase.planned, start_ns, self._end_ns)
        try:
            self._start()
            if self._tasks:
                await self._wait()
        finally:
            await self._cancel()
        if self._fault:
            raise self._fault
        tally = self._tally
        if self._share:
            tally.give_up(start_ns)
        ended = self._stop.reason or "done"
        return PhaseResult(start_ns, now_ns(), tally.written, tally.completed, tally.cancelled_as_planned, ended)

    def _start(self) -> None:
        if not self._share:
            return
        if self._phase.due_offsets_ns is not None:
            self._spawn(self._open_loop(self._phase.due_offsets_ns.tolist()))
            return
        for number in self._share.of_range(users(self._phase)):
            enter_ns, leave_ns = (0, -1) if self._phase.users_ns is None else self._phase.users_ns[number].tolist()
            self._spawn(self._user(self._start_ns + enter_ns, None if leave_ns < 0 else self._start_ns + leave_ns))

    async def _wait(self) -> None:
        """Wait until everything is done; after a stop, for no longer than `drain_s`."""
        if await _first(self._idle.wait(), self._stop.wait_draining()):
            return
        self._generator.timer.release()  # users may wait for an instant that is far away
        await _first(self._idle.wait(), self._stop.wait_cancelling(), timeout_s=self._generator.drain_s)

    async def _cancel(self) -> None:
        """Cancel what still runs, which is nothing unless the phase was stopped."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) and not self._fault:
            self._fault = fault
        if not self._tasks or self._fault:
            self._idle.set()

    async def _open_loop(self, due_offsets_ns: list[int]) -> None:
        """Send each unit at its own scheduled time, however many are in flight. A unit that is late is sent late and not skipped."""
        for unit in self._units:
            due_ns = self._start_ns + due_offsets_ns[unit]
            await self._generator.timer.until(due_ns)
            if self._stop.is_set:
                return
            self._spawn(self._send_unit(unit, due_ns))

    async def _user(self, enters_ns: int, leaves_ns: int | None) -> None:
        """One user of the closed loop: the next request is due when the one before is done and the user's think time has passed."""
        until_ns = min((end for end in (leaves_ns, self._end_ns) if end is not None), default=None)
        ready_ns, thinks = enters_ns, False
        while not self._stop.is_set and (until_ns is None or max(ready_ns, now_ns()) < until_ns):
            unit = next(self._units, None)
            if unit is None:
                return
            ready_ns = await self._send_unit(unit, ready_ns, until_ns, thinks)
            thinks = True

    async def _send_unit(self, unit: int, ready_ns: int, until_ns: int | None = None, thinks: bool = False) -> int:
        """Send a session turn by turn, or a single request; returns the instant at which its user is ready for another.

        `thinks`: the user's think time precedes the first turn too. No request is due at `until_ns` or later.
        """
        units = self._phase.units
        context: list[int] = []
        for turn, position in enumerate(units[unit % len(units)]):
            prompt = self._phase.prompts[position]
            due_ns = ready_ns + (prompt.think_ns if turn or thinks else 0)
            if until_ns is not None and due_ns >= until_ns:
                return due_ns
            await self._generator.timer.until(due_ns)
            admitted_ns = await _place(self._places) if self._places else None
            if self._stop.is_set:
                if self._places:
                    self._places.release()
                return due_ns
            record = self._tally.begin(unit, turn, due_ns, len(context))
            record.admitted_ns = admitted_ns
            await self._send_prompt(record, position, context)
            ready_ns = record.done_ns or now_ns()
            if record.outcome is not Outcome.COMPLETED and not (record.planned_cancel and record.outcome is Outcome.CANCELLED):
                self._tally.break_off(unit, turn + 1, ready_ns)
                return ready_ns + _FAILURE_PAUSE_NS
            if prompt.session is not None:
                context += [*prompt.input_ids.tolist(), *record.output_ids]
        return ready_ns

    async def _send_prompt(self, record: RequestRecord, position: int, context: list[int]) -> None:
        prompt, attempts = self._phase.prompts[position], self._generator.attempts
        body = self._bodies.get(position) if not context else attempts.client.encode_request(prompt, context)
        assert body is not None, "every first prompt of a unit was encoded before the phase"
        try:
            await attempts.send_with_retries(record, body, prompt, self._stop)
        finally:
            if self._places:
                self._places.release()
            self._tally.finish(record)


async def _place(places: asyncio.Semaphore) -> int | None:
    """Wait until a bounded open loop may have another request in flight; returns the end of the wait, or None if there was none."""
    waits = places.locked()
    await places.acquire()
    return now_ns() if waits else None


async def _first(wanted: Coroutine[Any, Any, Any], other: Coroutine[Any, Any, Any], timeout_s: float | None = None) -> bool:
    """Wait for either of two coroutines; returns whether `wanted` ended."""
    waits = [asyncio.create_task(wanted), asyncio.create_task(other)]
    await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    done = waits[0].done()
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)
    return done
