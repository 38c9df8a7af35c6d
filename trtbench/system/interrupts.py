"""What SIGINT, SIGTERM and SIGHUP do: end the process at once, raise where something must be stopped first, or call an event loop's taker.

SIGHUP, which a terminal sends when it closes, counts as SIGTERM; where it is ignored (nohup) it stays ignored.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_PATIENCE_S = 2.0
"""A signal that comes sooner after one that raised finds the process unwinding, and does not raise in the middle of that."""
_came: list[int] = []


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP. A KeyboardInterrupt, because asyncio lets no other exception of a signal out of a task."""


def came() -> int | None:
    """The first signal that this process has taken."""
    return _came[0] if _came else None


def exit_code(signum: int) -> int:
    return 128 + (signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM)


def end_at_once() -> None:
    """From now on a signal that nothing else takes ends the process: one line, and 128 + its number as exit code."""
    for signum in _taken():
        signal.signal(signum, _end)
    sys.unraisablehook = _raise_again


def say(signum: int) -> None:
    """The one line of an interrupt. What cannot be written at once is not written."""
    with suppress(OSError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"trtbench: interrupted by {signal.Signals(signum).name}\n".encode())


@contextmanager
def signals_raise() -> Iterator[None]:
    """While the block runs, a signal raises KeyboardInterrupt or Terminated, so that every context manager stops what it started."""
    raised_s = -_PATIENCE_S
    closed = False
    late: list[int] = []

    def unwind(signum: int, frame: FrameType | None) -> None:
        nonlocal raised_s
        _came.append(signum)
        if closed:
            late.append(signum)
        elif time.monotonic() - raised_s >= _PATIENCE_S:
            raised_s = time.monotonic()
            raise KeyboardInterrupt if signum == signal.SIGINT else Terminated

    before = {signum: signal.signal(signum, unwind) for signum in _taken()}
    try:
        yield
    finally:
        closed = True
        _restore(before)
        if late:
            signal.raise_signal(late[0])


class Ending:
    """Of a command."""

    code = 0


@contextmanager
def signals_end_in_their_codes() -> Iterator[Ending]:
    """A signal unwinds the block and ends it, and 128 + its number is the exit code."""
    ending = Ending()
    try:
        with signals_raise():
            yield ending
    except KeyboardInterrupt as error:
        signum = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        say(signum)
        ending.code = exit_code(signum)


@contextmanager
def signals_wait() -> Iterator[None]:
    """A signal that comes while the block runs takes effect after it. By handlers: a blocked signal would reach another thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = {signum: signal.signal(signum, lambda number, frame: caught.append(number)) for signum in _taken()}
    try:
        yield
    finally:
        _restore(before)
        if caught:
            signal.raise_signal(caught[0])


@contextmanager
def interrupts_call(interrupt: Callable[[int], None]) -> Iterator[list[int]]:
    """While the block runs, `interrupt` takes each signal in the running loop, SIGHUP as SIGTERM; yields those that came.

    Restores what was set before, and never leaves a signal to its default meanwhile, as the loop's own handlers would at their end.
    """
    import asyncio  # here, for the first signals are taken before anything is imported that takes time
    import socket

    caught: list[int] = []
    loop = asyncio.get_running_loop()
    heard, written = socket.socketpair()
    heard.setblocking(False)
    written.setblocking(False)

    def take() -> None:
        for number in heard.recv(64):
            if number in before:
                caught.append(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
                interrupt(caught[-1])

    loop.add_reader(heard, take)
    pipe_before = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    before = {signum: signal.signal(signum, lambda number, frame: _came.append(number)) for signum in _taken()}
    try:
        yield caught
    finally:
        _restore(before)
        signal.set_wakeup_fd(pipe_before)
        loop.remove_reader(heard)
        heard.close()
        written.close()


def _taken() -> list[int]:
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM] if ignored else [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def _restore(before: dict[int, Any]) -> None:
    for signum, handler in before.items():
        signal.signal(signum, signal.SIG_DFL if handler is None else handler)


def _end(signum: int, frame: FrameType | None) -> None:
    say(signum)
    os._exit(exit_code(signum))


def _raise_again(unraisable: sys.UnraisableHookArgs) -> None:
    """An interrupt that was raised where nothing can catch it, as in a destructor, is raised once more."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        again = threading.Timer(_PATIENCE_S, signal.raise_signal, [_came[-1] if _came else signal.SIGINT])
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)
