"""Standard output and error that cannot make a command fail: not by a reader that leaves, an encoding or a full pipe."""

from __future__ import annotations

import io
import os
import select
import sys
import time
from typing import Any, TextIO

from trtbench.system import interrupts

_LOOK_MS = 100
_PATIENCE_S = 1.0  # after an interrupt, how long a write waits for a reader that does not read


class Descriptor(io.FileIO):
    """A file descriptor to write to. What cannot be written is dropped, and `fault` keeps the reason."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "w", closefd=False)
        self.fault: OSError | None = None
        """BrokenPipeError if the reader has left, TimeoutError if it did not read and the command was interrupted."""

    def write(self, data: Any) -> int:
        part = memoryview(data).cast("B")[: select.PIPE_BUF]  # a pipe that polls as writable takes this many bytes without blocking
        if self.fault is None:
            try:
                self._wait()
                return super().write(part) or 0
            except OSError as error:
                self.fault = error
        return len(part)

    def _wait(self) -> None:
        ready = select.poll()
        ready.register(self.fileno(), select.POLLOUT)
        given_up_s = None
        while not ready.poll(_LOOK_MS):
            if interrupts.came() is not None:
                given_up_s = given_up_s or time.monotonic() + _PATIENCE_S
                if time.monotonic() > given_up_s:
                    raise TimeoutError("nobody reads")


def take_streams() -> tuple[Descriptor, Descriptor]:
    """Replace standard output and error by streams that escape the characters which their encoding lacks.

    A standard stream that was closed becomes /dev/null, so that no file which trtbench opens gets its number.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    out, err = Descriptor(1), Descriptor(2)
    sys.stdout, sys.stderr = _text(out, sys.stdout), _text(err, sys.stderr, line_buffering=True)
    return out, err


def _text(raw: Descriptor, before: TextIO | None, line_buffering: bool = False) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=line_buffering or bool(getattr(before, "line_buffering", False)),
        write_through=bool(getattr(before, "write_through", False)),
    )


def flush(raw: Descriptor, stream: TextIO) -> OSError | None:
    """The reason why a stream could not be written, or None if all of it was."""
    try:
        stream.flush()
    except OSError as error:
        return error
    return raw.fault
