"""Memory of the load's worker processes while a benchmark beside this file drives one."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import psutil

_POLL_S = 0.1


class WorkerMemory:
    """A context manager that watches our children; `samples`: (monotonic seconds, resident bytes of all workers together)."""

    def __enter__(self) -> WorkerMemory:
        self.samples: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    @property
    def peak_bytes(self) -> int:
        return max(resident for _, resident in self.samples)

    def _watch(self) -> None:
        while not self._over.wait(_POLL_S):
            self.samples.append((time.monotonic(), sum(map(_worker_bytes, psutil.Process().children()))))


def _worker_bytes(process: psutil.Process) -> int:
    try:
        resident: int = process.memory_info().rss if "trtbench.load.worker" in process.cmdline() else 0
    except psutil.Error:  # it has just ended
        return 0
    return resident
