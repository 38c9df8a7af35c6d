"""What the event loop must be while it measures: quick, undisturbed by the garbage collector, and watched."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trtbench.system.clock import now_ns, seconds_ns

try:
    import uvloop
except ImportError:  # it has no build for this Python or machine; asyncio's own loop does the same for more CPU
    uvloop = None  # type: ignore[assignment]

_PROBE_S = 0.05


def new_loop(fast: bool = True) -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed and wanted, else asyncio's."""
    return uvloop.new_event_loop() if fast and uvloop else asyncio.new_event_loop()


def loop_name() -> str:
    """Of the running loop."""
    return "uvloop" if uvloop and isinstance(asyncio.get_running_loop(), uvloop.Loop) else "asyncio"


@contextmanager
def no_collections() -> Iterator[None]:
    """Keep Python's collector away: a full collection stops the loop for tens of milliseconds."""
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
    """Report how long each collection held up everything, also one that a library asked for."""
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
    """Report how late each timer of 50 ms is, until cancelled; what is late here is late for every stamp."""
    while True:
        due_ns = now_ns() + seconds_ns(_PROBE_S)
        await asyncio.sleep(_PROBE_S)
        on_lag_ns(max(now_ns() - due_ns, 0))
