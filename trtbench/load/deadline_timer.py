"""DeadlineTimer: wakes coroutines at absolute instants, exact to some tens of microseconds.

The timers of asyncio and uvloop have a resolution of one millisecond. A timerfd (AbsoluteTimer) uses the kernel's high-resolution timer on
the clock of the run. For the event loop it is one more file to wait for, so waiting does not keep the loop busy.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from heapq import heappop, heappush
from itertools import count

from trtbench.system.clock import NS_PER_S, now_ns

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_libc = ctypes.CDLL(None, use_errno=True)


class _Itimerspec(ctypes.Structure):
    """timerfd_settime(2): interval and first expiry, each in seconds and nanoseconds."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("interval_s", "interval_ns", "value_s", "value_ns"))


class AbsoluteTimer:
    """A Linux timerfd; OSError on a kernel without it. Python's own interface to it exists only since 3.13."""

    def __init__(self) -> None:
        self._fd: int = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = _Itimerspec()

    def fileno(self) -> int:
        return self._fd

    def set(self, instant_ns: int) -> None:
        """Make the file readable at `instant_ns` and not before, whatever was set earlier; 0 disarms the timer."""
        self._spec.value_s, self._spec.value_ns = divmod(instant_ns, NS_PER_S)
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        os.close(self._fd)


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
