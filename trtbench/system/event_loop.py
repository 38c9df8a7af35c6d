"""The asyncio event loop of a process that measures: fast, without garbage collections, its delays recorded, and free of blocking calls."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from trtbench.system.clock import now_ns, seconds_ns

try:
    import uvloop
except ImportError:  # uvloop has no build for this Python or machine; asyncio's own loop does the same for more CPU
    uvloop = None  # type: ignore[assignment]

_PROBE_S = 0.05
_INTERRUPT_CHECK_S = 0.25
_T = TypeVar("_T")


def new_loop(fast: bool = True) -> asyncio.AbstractEventLoop:
    """A loop of uvloop if that is installed and `fast` is set, else one of asyncio."""
    return uvloop.new_event_loop() if fast and uvloop else asyncio.new_event_loop()


def loop_name() -> str:
    """The library of the running loop: uvloop or asyncio."""
    return "uvloop" if uvloop and isinstance(asyncio.get_running_loop(), uvloop.Loop) else "asyncio"


@contextmanager
def no_collections() -> Iterator[None]:
    """Disable Python's garbage collector while the block runs: a full collection stops the loop for tens of milliseconds."""
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


@contextmanager
def watched_collections(on_pause_ns: Callable[[int], None]) -> Iterator[None]:
    """Report how long each garbage collection stopped the process while the block runs, including those that a library starts."""
    began_ns = 0

    def watch(phase: str, info: dict[str, int]) -> None:
        nonlocal began_ns
        if phase == "start":
            began_ns = now_ns()
        else:
            on_pause_ns(now_ns() - began_ns)

    gc.callbacks.append(watch)
    try:
        yield
    finally:
        gc.callbacks.remove(watch)


async def probe_lag(on_lag_ns: Callable[[int], None]) -> None:
    """Report how late a timer of 50 ms fires, again and again until cancelled. Timestamps taken in the loop are late by as much."""
    while True:
        due_ns = now_ns() + seconds_ns(_PROBE_S)
        await asyncio.sleep(_PROBE_S)
        on_lag_ns(max(now_ns() - due_ns, 0))


async def within_interrupt(read: Callable[[], _T], interrupted: Callable[[], bool], patience_s: float) -> _T | None:
    """The result of the blocking call `read`, which runs in a thread, or None once `interrupted` has been true for `patience_s`.

    The thread is then abandoned: it is a daemon, and ends with the process.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_T] = loop.create_future()

    def settle(value: _T | None, error: BaseException | None) -> None:
        if not answer.done():
            answer.set_exception(error) if error else answer.set_result(value)  # type: ignore[arg-type]

    def call() -> None:
        value, error = None, None
        try:
            value = read()
        except BaseException as fault:
            error = fault
        with suppress(RuntimeError):  # the loop may be closed
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=call, name="abandoned-call", daemon=True).start()
    left_s = patience_s
    while not answer.done():
        await asyncio.wait([answer], timeout=_INTERRUPT_CHECK_S)
        left_s -= _INTERRUPT_CHECK_S if interrupted() else 0
        if left_s <= 0 and not answer.done():
            answer.cancel()
            return None
    return answer.result()
