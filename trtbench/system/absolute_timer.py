"""AbsoluteTimer: a file that becomes readable at an absolute instant, exact to some tens of microseconds.

The timers of asyncio and uvloop have a resolution of one millisecond. A timerfd uses the kernel's high-resolution timer on the clock of the
run. For an event loop it is one more file to wait for, so waiting does not keep the loop busy.
"""

from __future__ import annotations

import ctypes
import os

from trtbench.system.clock import NS_PER_S

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
