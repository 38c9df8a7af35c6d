"""WorkerHandle: starts one worker process, sends it orders and reads its reports."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trtbench.client.protocol import ConnectError
from trtbench.load.orders import (
    Answer,
    Close,
    Closed,
    Fault,
    Order,
    PhaseDone,
    Progress,
    Ready,
    Report,
    Switched,
    SwitchModel,
    order_line,
    report_of,
)
from trtbench.load.tally import Counts
from trtbench.load.worker import WorkerConfig
from trtbench.rundir.event_kinds import ClientFacts
from trtbench.rundir.latency_limits import FinishedRequest

_LINE_BYTES = 1 << 24  # the longest report has the latencies of a quarter second
_CLOSE_S = 10.0
_LOG_CHARACTERS = 500
_ENDED = ""


class WorkerError(Exception):
    """A worker ended early; the message gives the reason. What it had recorded is in its file."""


Finished = Callable[[list[FinishedRequest]], None]
"""Called with requests that are over."""


class WorkerHandle:
    """One worker process. `counts` are those of the running phase and `streak` its failures in a row, as the worker last reported them.

    Requests due before `over_until_ns` have all been reported, if they are watched.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path, on_finished: Finished) -> None:
        self.counts = Counts()
        self.streak: tuple[int, list[int]] = (0, [])
        self.over_until_ns = 0
        self.owes = False
        """Whether an answer to an order is outstanding."""
        self._process, self._log, self._on_finished = process, log, on_finished
        self._answers: asyncio.Queue[Report] = asyncio.Queue()
        self._switched: asyncio.Queue[str] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, config: WorkerConfig, on_finished: Finished) -> WorkerHandle:
        """Start a worker that waits for orders. ConnectError if it does not reach the server, OSError if it cannot write its files."""
        log = config.requests.with_name(f"client-{config.number}.log")
        pipe = asyncio.subprocess.PIPE
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "trtbench.load.worker",
                stdin=pipe,
                stdout=pipe,
                stderr=errors,
                limit=_LINE_BYTES,
                start_new_session=True,  # Ctrl-C goes to the foreground process group, which this is not
            )
        handle = cls(process, log, on_finished)
        handle._write(config.to_line())
        try:
            await handle._answer(Ready)
        except asyncio.CancelledError:
            handle.kill()
            await handle.close()
            raise
        except BaseException:
            await handle.close()
            raise
        return handle

    def kill(self) -> None:
        """End the process at once."""
        if self._process.returncode is None:
            self._process.kill()

    def order(self, order: Order) -> None:
        self._write(order_line(order))

    async def ask(self, order: Order, kind: type[Answer]) -> Answer:
        """Send an order and wait for its report, which is of `kind`; raises the error with which the worker failed."""
        self.order(order)
        self.owes = True
        try:
            return await self._answer(kind)
        finally:
            self.owes = False

    async def switch(self, model: str) -> None:
        """Send requests from now on to another model; returns when earlier ones are over, or when the worker has ended."""
        self.order(SwitchModel(model))
        while (switched := await self._switched.get()) != model:
            if switched == _ENDED:
                self._switched.put_nowait(_ENDED)  # for the next caller
                return

    async def close(self) -> ClientFacts | None:
        """End the process; returns the transport facts of its client, or None if it cannot report them any more."""
        facts: ClientFacts | None = None
        with suppress(WorkerError, ConnectError, OSError, asyncio.TimeoutError):
            self.order(Close())
            facts = (await asyncio.wait_for(self._answer(Closed), _CLOSE_S)).facts
        self.kill()
        await self._process.wait()
        await self._reading
        if not self._log.stat().st_size:
            self._log.unlink()
        return facts

    def _write(self, line: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(line)  # if the worker is gone, its missing answer shows it

    async def _answer(self, kind: type[Answer]) -> Answer:
        said = await self._answers.get()
        if isinstance(said, Fault):
            raise _error(said)
        assert isinstance(said, kind)
        return said

    async def _read(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            said = report_of(line)
            if isinstance(said, (Progress, PhaseDone)):
                self._note(said if isinstance(said, Progress) else said.progress)
            if isinstance(said, Switched):
                self._switched.put_nowait(said.model)
            elif not isinstance(said, Progress):
                self._answers.put_nowait(said)
        self._switched.put_nowait(_ENDED)
        code = await self._process.wait()
        log = self._log.read_text(errors="replace").strip()[-_LOG_CHARACTERS:]
        self._answers.put_nowait(Fault(f"a load worker ended by itself (exit code {code}){': ' + log if log else ''}"))

    def _note(self, progress: Progress) -> None:
        self.counts, self.streak = progress.counts, progress.streak
        if progress.finished:
            self._on_finished(progress.finished)
        self.over_until_ns = progress.over_until_ns


def _error(fault: Fault) -> Exception:
    if fault.kind == ConnectError.__name__:
        return ConnectError(fault.message)
    return OSError(fault.errno, fault.message, fault.file) if fault.errno else WorkerError(fault.message)
