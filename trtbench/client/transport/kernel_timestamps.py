"""KernelStamps: when data arrived, as the kernel stamped it, on the run's clock.

Linux stamps received segments with the wall clock (SO_TIMESTAMPING, Documentation/networking/timestamping.rst). Data that waited
together bears the newest segment's stamp.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from trtbench.system.clock import now_ns, sleep_s, wall_offset

SO_TIMESTAMPING = getattr(socket, "SO_TIMESTAMPING", 37)
"""Option and control message; 37 where Linux has asm-generic numbers. Python names it from 3.15 on."""
CONTROL_BYTES = socket.CMSG_SPACE(48) if hasattr(socket, "CMSG_SPACE") else 0  # three timespecs, of which the first is software's
_RX_SOFTWARE, _SOFTWARE = 1 << 3, 1 << 4
_TIMESPEC = struct.Struct("@qq").unpack_from

_LONGEST_LAG_NS = 60_000_000_000
"""A stamp older than this at its read is none of this data's."""
_STEP_NS = 1_000_000
"""The two clocks run at one rate (NTP slews both): what moves their difference by more than readings err is a step."""
_PROBES, _PROBE_S = 50, 0.002


class StampsUnavailable(Exception):
    """The kernel gives no stamps; the message says why."""


class KernelStamps:
    """From the kernel's stamps to arrivals; for all connections of a process. `check` re-reads the clocks: call it about once a second."""

    __slots__ = ("_checked_ns", "_highest_ns", "_keeper", "_lowest_ns", "_offset_ns", "_uncertain_ns", "fallbacks", "stamped", "steps")

    def __init__(self) -> None:
        self._offset_ns, self._uncertain_ns = wall_offset()
        self._lowest_ns = self._highest_ns = self._offset_ns
        self._checked_ns = now_ns()
        self._keeper: socket.socket | None = None
        self.stamped = 0  # reads with a stamp to go by
        self.fallbacks = 0  # reads without, which go by the instant of the read
        self.steps = 0  # of the wall clock

    @classmethod
    def open(cls) -> KernelStamps:
        """Tried on a loopback connection; StampsUnavailable.

        The kernel switches stamping on a moment after the first socket asks for it, and off with the last: one stays open until `close`.
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
            raise StampsUnavailable("the kernel took SO_TIMESTAMPING but stamps nothing")
        stamps.stamped = stamps.fallbacks = 0
        return stamps

    def close(self) -> None:
        if self._keeper:
            self._keeper.close()

    def _try(self) -> None:
        """Read until a read has a good stamp, or in vain."""
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
        """When the data of one read arrived; `read_ns` itself, and counted, where the kernel's stamp is missing or cannot be right."""
        if control:
            seconds, nanoseconds = _TIMESPEC(control[0][2])
            arrived_ns: int = seconds * 1_000_000_000 + nanoseconds - self._offset_ns
            if 0 <= read_ns - arrived_ns <= _LONGEST_LAG_NS:
                self.stamped += 1
                return arrived_ns
        self.fallbacks += 1
        if read_ns - self._checked_ns > _STEP_NS:  # perhaps the clock was stepped; not read for every read of a flood
            self.check()
        return read_ns

    def check(self) -> None:
        """Compare the clocks; stamps from here on go by the new difference. Those between a step and this are wrong by the step."""
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
    """Have the kernel stamp what arrives, before it does. OSError where it will not."""
    connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, _RX_SOFTWARE | _SOFTWARE)
