"""DeadlineTimer: wakes coroutines at absolute instants, exact to some tens of microseconds."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from itertools import count

from trtbench.system.absolute_timer import AbsoluteTimer
from trtbench.system.clock import now_ns


class DeadlineTimer:
    """Lets coroutines of the running event loop wait for instants; OSError if the kernel has no timerfd."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = AbsoluteTimer()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._armed_ns: int | None = None
        self._order = count()
        self._loop.add_reader(self._timer.fileno(), self._ring)

    async def until(self, due_ns: int) -> None:
        """Wait until `due_ns` or until `release`; returns at once if `due_ns` has passed."""
        if due_ns <= now_ns():
            return
        waiter = self._loop.create_future()
        heappush(self._waiting, (due_ns, next(self._order), waiter))
        self._arm()
        await waiter

    def release(self) -> None:
        """Wake all waiting coroutines now, because the load ends early."""
        for _, _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    def close(self) -> None:
        self._loop.remove_reader(self._timer.fileno())
        self._timer.close()

    def _ring(self) -> None:
        self._timer.set(0)
        self._armed_ns = None
        while self._waiting and (self._waiting[0][2].done() or self._waiting[0][0] <= now_ns()):
            waiter = heappop(self._waiting)[2]
            if not waiter.done():
                waiter.set_result(None)
        self._arm()

    def _arm(self) -> None:
        if not self._waiting or self._waiting[0][0] == self._armed_ns:
            return
        self._armed_ns = self._waiting[0][0]
        self._timer.set(self._armed_ns)
