"""WorkerHandle: starts one worker process, sends it orders and reads its reports."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trtbench.client.protocol import ConnectError
from trtbench.load.tally import Counts
from trtbench.load.worker import WorkerConfig
from trtbench.rundir.event_kinds import ClientFacts

_LINE_BYTES = 1 << 24  # the longest report has the latencies of a quarter second
_CLOSE_S = 10.0
_LOG_CHARACTERS = 500
_ENDED = ""


class WorkerError(Exception):
    """A worker ended early; the message gives the reason. What it had recorded is in its file."""


Finished = Callable[[list[tuple[int, int]]], None]
"""Called with (done_ns, latency_ns) of completed requests."""


class WorkerHandle:
    """One worker process. `counts` are those of the running phase, as the worker last reported them."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, on_finished: Finished) -> None:
        self.counts = Counts()
        self.owes = False
        """Whether an answer to an order is outstanding."""
        self._process, self._log, self._on_finished = process, log, on_finished
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
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
            await handle._answer()
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

    def order(self, do: str, **details: Any) -> None:
        self._write(json.dumps({"do": do, **details}).encode() + b"\n")

    async def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Send an order and wait for its report; raises the error with which the worker failed."""
        self.order(do, **details)
        self.owes = True
        try:
            return await self._answer()
        finally:
            self.owes = False

    async def switch(self, model: str) -> None:
        """Send requests from now on to another model; returns when earlier ones are over, or when the worker has ended."""
        self.order("switch", model=model)
        while (switched := await self._switched.get()) != model:
            if switched == _ENDED:
                self._switched.put_nowait(_ENDED)  # for the next caller
                return

    async def close(self) -> ClientFacts | None:
        """End the process; returns the transport facts of its client, or None if it cannot report them any more."""
        try:
            self.order("close")
            facts: dict[str, Any] = (await asyncio.wait_for(self._answer(), _CLOSE_S)).get("closed", {})
        except (WorkerError, ConnectError, OSError, asyncio.TimeoutError):
            facts = {}
        self.kill()
        await self._process.wait()
        await self._reading
        if not self._log.stat().st_size:
            self._log.unlink()
        return ClientFacts(**facts) if facts else None

    def _write(self, line: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(line)  # if the worker is gone, its missing answer shows it

    async def _answer(self) -> dict[str, Any]:
        row = await self._answers.get()
        if row.get("kind") == "ConnectError":
            raise ConnectError(row["fault"])
        if row.get("errno"):
            raise OSError(row["errno"], row["fault"], row["file"])
        if "fault" in row:
            raise WorkerError(row["fault"])
        return row

    async def _read(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            row = json.loads(line)
            if counts := row.pop("counts", None):
                self.counts = Counts(**counts)
            if finished := row.pop("finished", None):
                self._on_finished(finished)
            if switched := row.pop("switched", None):
                self._switched.put_nowait(switched)
            if row:
                self._answers.put_nowait(row)
        self._switched.put_nowait(_ENDED)
        code = await self._process.wait()
        log = self._log.read_text(errors="replace").strip()[-_LOG_CHARACTERS:]
        self._answers.put_nowait({"fault": f"a load worker ended by itself (exit code {code}){': ' + log if log else ''}"})
