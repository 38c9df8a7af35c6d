"""Alarm: wakes coroutines at absolute instants, to some tens of microseconds.

The timers of asyncio and uvloop go by whole milliseconds. A timerfd goes by the kernel's own high-resolution timer, on the very clock of
the run, and is one more file for the loop to wait for: no turn of the loop is spent on waiting.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from heapq import heappop, heappush
from itertools import count

from trtbench.clock import NS_PER_S, now_ns

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class Alarm:
    """For coroutines of the running event loop; OSError where the kernel has no timerfd."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._armed_ns: int | None = None
        self._order = count()
        self._loop.add_reader(self._fd, self._ring)

    async def until(self, due_ns: int) -> None:
        """Wait until `due_ns`, or until `release`; returns at once when it has passed."""
        if due_ns <= now_ns():
            return
        waiter = self._loop.create_future()
        heappush(self._waiting, (due_ns, next(self._order), waiter))
        self._arm()
        await waiter

    def release(self) -> None:
        """Wake everyone now: the load is over before its time."""
        for _, _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # set anew since it expired
            return
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
        spec = _Itimerspec(it_value=_Timespec(*divmod(self._armed_ns, NS_PER_S)))
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")
