"""Recorder: appends request records to a file as they finish, away from the event loop."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

from trtbench.rundir import LineWriter
from trtbench.rundir.records import RequestRecord

_PERIOD_S = 0.1


class Recorder:
    """Writes what it was given on a thread, every 100 ms: a slow disk does not hold up the load, a kill loses at most what waits.

    The thread looks by itself: to wake it for each record would cost the event loop more than all else that a record does.
    """

    def __init__(self, path: Path) -> None:
        self._writer = LineWriter(path)
        self._waiting: deque[RequestRecord] = deque()
        self._closing = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def append(self, record: RequestRecord) -> None:
        """Hand over a record that nobody changes any more. OSError when an earlier one could not be written (a full disk)."""
        if self._error:
            raise self._error
        self._waiting.append(record)

    def close(self) -> None:
        """Wait until everything is on file; OSError when something is not."""
        self._closing.set()
        self._thread.join()
        self._writer.close()
        if self._error:
            raise self._error

    def _write(self) -> None:
        while not self._closing.wait(_PERIOD_S):
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        # One record a write: the interpreter's lock is let go between two, so the event loop waits for one at most.
        while self._waiting:
            record = self._waiting.popleft()
            if self._error is None:
                try:
                    self._writer.write(record.to_json())
                except OSError as error:
                    self._error = error
