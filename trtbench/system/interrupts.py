"""What SIGINT, SIGTERM and SIGHUP do: end the process at once, raise an exception where something must be stopped first, wait for the
end of a block, or call a function in the event loop.

SIGHUP, which a terminal sends when it closes, is treated as SIGTERM. Where it is ignored (nohup) it stays ignored.
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
"""A signal that arrives sooner than this after one that raised an exception does not raise another: the process is still unwinding."""
_came: list[int] = []


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived. A KeyboardInterrupt, because asyncio lets no other exception of a signal handler leave a task."""


def came() -> int | None:
    """The first signal that has arrived since the command began, or since this process did."""
    return _came[0] if _came else None


def exit_code(signum: int) -> int:
    return 128 + (signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM)


def end_at_once() -> None:
    """A signal that nothing else handles ends, from now on, the process, with one line of text and 128 + its number as the exit code."""
    for signum in _taken():
        signal.signal(signum, _end)
    sys.unraisablehook = _raise_again


def say(signum: int) -> None:
    """Write to standard error which signal interrupted the command, unless that would block."""
    with suppress(OSError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"trtbench: interrupted by {signal.Signals(signum).name}\n".encode())


@contextmanager
def signals_raise() -> Iterator[None]:
    """While the block runs, a signal raises KeyboardInterrupt or Terminated, so that context managers stop what they started."""
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
    """The exit code with which a command ended."""

    code = 0


@contextmanager
def signals_end_in_their_codes() -> Iterator[Ending]:
    """A signal ends the block by an exception, and `code` of the yielded `Ending` is then 128 + its number."""
    ending = Ending()
    _came.clear()  # a signal that ended an earlier command of this process does not explain a fault of this one
    try:
        with signals_raise():
            yield ending
    except KeyboardInterrupt as error:
        signum = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        say(signum)
        ending.code = exit_code(signum)


@contextmanager
def signals_wait() -> Iterator[None]:
    """A signal that arrives while the block runs takes effect after it.

    This is done with handlers and not by blocking signals: a signal that one thread blocks is delivered to another thread.
    """
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
    """While the block runs, the running loop calls `interrupt` with each signal, SIGHUP as SIGTERM; yields the list of them.

    The loop's own `add_signal_handler` is not used: removing its handlers sets a signal's default action for a moment, which ends the
    process if the signal arrives in that moment.
    """
    import asyncio  # imported here, because signals must be handled before anything is imported that takes time
    import socket

    caught: list[int] = []
    loop = asyncio.get_running_loop()
    received, written = socket.socketpair()
    received.setblocking(False)
    written.setblocking(False)

    def call_for_each() -> None:
        for number in received.recv(64):
            if number in before:
                caught.append(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
                interrupt(caught[-1])

    loop.add_reader(received, call_for_each)
    pipe_before = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    before = {signum: signal.signal(signum, lambda number, frame: _came.append(number)) for signum in _taken()}
    try:
        yield caught
    finally:
        _restore(before)
        signal.set_wakeup_fd(pipe_before)
        loop.remove_reader(received)
        received.close()
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
    """Raise an interrupt again that was raised where nothing can catch it, for example in a destructor."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        again = threading.Timer(_PATIENCE_S, signal.raise_signal, [_came[-1] if _came else signal.SIGINT])
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)
