"""Recorder: appends request records to a file as they finish, away from the event loop."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue

from trtbench.records import RequestRecord
from trtbench.rundir import LineWriter


class Recorder:
    """Writes each record the moment it is given, on a thread: a slow disk does not hold up the load, a kill loses at most what waits."""

    def __init__(self, path: Path) -> None:
        self._writer = LineWriter(path)
        self._waiting: SimpleQueue[RequestRecord | None] = SimpleQueue()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def append(self, record: RequestRecord) -> None:
        """Hand over a record that nobody changes any more. OSError when an earlier one could not be written (a full disk)."""
        if self._error:
            raise self._error
        self._waiting.put(record)

    def close(self) -> None:
        """Wait until everything is on file; OSError when something is not."""
        self._waiting.put(None)
        self._thread.join()
        self._writer.close()
        if self._error:
            raise self._error

    def _write(self) -> None:
        # One record a write: the interpreter's lock is let go between two, so the event loop waits for one at most.
        while (record := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    self._writer.write(record.to_json())
                except OSError as error:
                    self._error = error
