"""KernelStamps: the instants at which data arrived, from the kernel's timestamps, on the run's clock.

Linux timestamps received segments with the wall clock (SO_TIMESTAMPING, Documentation/networking/timestamping.rst). Data that is read
together has the timestamp of the newest segment.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from trtbench.system.clock import now_ns, sleep_s, wall_offset

SO_TIMESTAMPING = getattr(socket, "SO_TIMESTAMPING", 37)
"""The socket option and its control message: 37 on systems with Linux's asm-generic numbers. Python has the name since 3.15."""
CONTROL_BYTES = socket.CMSG_SPACE(48) if hasattr(socket, "CMSG_SPACE") else 0  # three timespecs; the first is the software timestamp
_RX_SOFTWARE, _SOFTWARE = 1 << 3, 1 << 4
_TIMESPEC = struct.Struct("@qq").unpack_from

_LONGEST_LAG_NS = 60_000_000_000
"""A timestamp that is older than this when the data is read cannot be right."""
_STEP_NS = 1_000_000
"""Both clocks run at the same rate, because NTP slews both. A larger change of their difference is a step of the wall clock."""
_PROBES, _PROBE_S = 50, 0.002


class StampsUnavailable(Exception):
    """The kernel gives no timestamps; the message gives the reason."""


class KernelStamps:
    """Converts the kernel's timestamps to instants of the run's clock, for all connections of a process.

    `check` compares the two clocks again; it has to be called about once a second."""

    __slots__ = ("_checked_ns", "_highest_ns", "_keeper", "_lowest_ns", "_offset_ns", "_uncertain_ns", "fallbacks", "stamped", "steps")

    def __init__(self) -> None:
        self._offset_ns, self._uncertain_ns = wall_offset()
        self._lowest_ns = self._highest_ns = self._offset_ns
        self._checked_ns = now_ns()
        self._keeper: socket.socket | None = None
        self.stamped = 0  # reads with a usable timestamp
        self.fallbacks = 0  # reads without one, for which the instant of the read is used
        self.steps = 0  # steps of the wall clock

    @classmethod
    def open(cls) -> KernelStamps:
        """Kernel timestamps that were tested on a loopback connection; StampsUnavailable if the test fails.

        The kernel begins to timestamp a moment after the first socket requests it and stops with the last such socket, so one socket stays
        open until `close`.
        """
        if not hasattr(socket.socket, "recvmsg_into"):
            raise StampsUnavailable("this system's sockets have no recvmsg")
        stamps = cls()
        stamps._keeper = socket.socket()
        try:
            enable(stamps._keeper)
            stamps._try()
        except OSError as error:
            stamps.close()
            raise StampsUnavailable(f"SO_TIMESTAMPING: {error.strerror or error}") from error
        if not stamps.stamped:
            stamps.close()
            raise StampsUnavailable("the kernel accepts SO_TIMESTAMPING but gives no timestamps")
        stamps.stamped = stamps.fallbacks = 0
        return stamps

    def close(self) -> None:
        if self._keeper:
            self._keeper.close()

    def _try(self) -> None:
        """Read from a loopback connection until a read has a usable timestamp, or for all attempts."""
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname(), 1) as reader:
            enable(reader)
            with listener.accept()[0] as writer:
                for _ in range(_PROBES):
                    writer.send(b"?")
                    _, control, _, _ = reader.recvmsg(1, CONTROL_BYTES)
                    self.arrival(control, now_ns())
                    if self.stamped:
                        return
                    sleep_s(_PROBE_S)

    def arrival(self, control: list[tuple[int, int, bytes]], read_ns: int) -> int:
        """The arrival of the data of one read. Without a timestamp, or with one that cannot be right, it is `read_ns`, and is counted."""
        if control:
            seconds, nanoseconds = _TIMESPEC(control[0][2])
            arrived_ns: int = seconds * 1_000_000_000 + nanoseconds - self._offset_ns
            if 0 <= read_ns - arrived_ns <= _LONGEST_LAG_NS:
                self.stamped += 1
                return arrived_ns
        self.fallbacks += 1
        if read_ns - self._checked_ns > _STEP_NS:  # the clock may have been stepped; it is not compared at every read
            self.check()
        return read_ns

    def check(self) -> None:
        """Compare the clocks and use their new difference from now on. Timestamps between a step and this call are wrong by the step."""
        offset_ns, uncertain_ns = wall_offset()
        self._checked_ns = now_ns()
        if abs(offset_ns - self._offset_ns) > _STEP_NS + uncertain_ns:
            self.steps += 1
            self._lowest_ns = self._highest_ns = offset_ns
        self._offset_ns, self._uncertain_ns = offset_ns, max(uncertain_ns, self._uncertain_ns)
        self._lowest_ns, self._highest_ns = min(self._lowest_ns, offset_ns), max(self._highest_ns, offset_ns)

    def facts(self) -> dict[str, Any]:
        return {
            "stamped_reads": self.stamped,
            "stamp_fallbacks": self.fallbacks,
            "clock_offset_drift_ns": self._highest_ns - self._lowest_ns,  # since the last step
            "clock_offset_uncertainty_ns": self._uncertain_ns,
            "clock_steps": self.steps,
        }


def enable(connection: socket.socket) -> None:
    """Have the kernel timestamp what arrives on a socket from now on; OSError if it refuses."""
    connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, _RX_SOFTWARE | _SOFTWARE)
