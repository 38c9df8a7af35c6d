"""What the event loop must be while it measures: undisturbed by the garbage collector, on time, and watched."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trtbench.clock import now_ns, seconds_ns, sleep_until

_PROBE_S = 0.010
_TIMER_STEP_NS = 1_100_000  # asyncio's timers go by whole milliseconds, rounded up


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


async def wake_at(due_ns: int) -> None:
    """Sleep to an absolute instant more exactly than a timer can: the last millisecond is spent in turns of the loop.

    Measured at 20 to 100 requests/s: median send lag 0.7 -> 0.1 ms, for 2 to 5 % of a core.
    """
    await sleep_until(due_ns - _TIMER_STEP_NS)
    while now_ns() < due_ns:
        await asyncio.sleep(0)


async def probe_lag(on_lag_ns: Callable[[int], None]) -> None:
    """Report how late each timer of 10 ms is, until cancelled; what is late here is late for every stamp."""
    while True:
        due_ns = now_ns() + seconds_ns(_PROBE_S)
        await asyncio.sleep(_PROBE_S)
        on_lag_ns(max(now_ns() - due_ns, 0))
