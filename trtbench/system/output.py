"""Standard output and error that no reader, no encoding and no full pipe can break a command with."""

from __future__ import annotations

import io
import os
import select
import sys
import time
from typing import Any, TextIO

from trtbench.system import interrupts

_LOOK_MS = 100
_PATIENCE_S = 1.0  # how long a reader that does not read is waited for after an interrupt


class Descriptor(io.FileIO):
    """A descriptor to write to; what cannot be written is dropped, and `fault` says why."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "w", closefd=False)
        self.fault: OSError | None = None
        """BrokenPipeError where the reader has left, TimeoutError where it does not read and the command was interrupted."""

    def write(self, data: Any) -> int:
        part = memoryview(data).cast("B")[: select.PIPE_BUF]  # so many bytes a pipe that can be written takes at once
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
    """Replace standard output and error: a character that the encoding lacks is shown as its escape.

    A standard stream that was closed becomes /dev/null, so that no file of ours takes its number.
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
    """What went wrong with a stream; None when all of it is written."""
    try:
        stream.flush()
    except OSError as error:
        return error
    return raw.fault
