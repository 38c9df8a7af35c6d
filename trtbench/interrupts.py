"""What SIGINT and SIGTERM do: raise where nothing else takes them, or call whoever is at work in an event loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Terminated(BaseException):
    """SIGTERM."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C does, so that every context manager stops what it started."""

    def terminate(signum: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Ending:
    """Of a command."""

    code = 0


@contextmanager
def signals_end_in_their_codes() -> Iterator[Ending]:
    """A SIGINT or SIGTERM (under `sigterm_raises`) ends the block, and 128 + its number is the exit code."""
    ending = Ending()
    try:
        yield ending
    except KeyboardInterrupt:
        ending.code = 128 + signal.SIGINT
    except Terminated:
        ending.code = 128 + signal.SIGTERM


@contextmanager
def interrupts_call(interrupt: Callable[[int], None]) -> Iterator[list[int]]:
    """While the block runs, `interrupt` takes each SIGINT and SIGTERM (its number) in the running loop; yields those that came.

    Restores what was set before.
    """
    caught: list[int] = []
    loop = asyncio.get_running_loop()

    def take(signum: int) -> None:
        caught.append(signum)
        interrupt(signum)

    before: dict[int, Any] = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    for signum in before:
        loop.add_signal_handler(signum, take, signum)
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            loop.remove_signal_handler(signum)
            signal.signal(signum, handler)
