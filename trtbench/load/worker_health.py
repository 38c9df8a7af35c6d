"""What a load worker measures of itself: whether its event loop or its garbage collection delayed a request."""

from __future__ import annotations

from trtbench.rundir.lines import LineWriter, sample_row
from trtbench.rundir.records import Sample
from trtbench.rundir.series import SeriesName
from trtbench.system.clock import cpu_ns, now_ns


class WorkerHealth:
    """Writes samples of the worker itself: the longest event loop lag and garbage collection of an interval, and the CPU used in it.

    The series are `client_loop_lag_ns`, `client_gc_pause_ns` and `client_worker_cpu_cores`, with the worker's number as their label."""

    def __init__(self, writer: LineWriter, worker: int) -> None:
        self._writer, self._label = writer, str(worker)
        self._lag_ns = self._pause_ns = 0
        self._at_ns, self._cpu_ns = now_ns(), cpu_ns()

    def lag(self, lag_ns: int) -> None:
        self._lag_ns = max(self._lag_ns, lag_ns)

    def pause(self, pause_ns: int) -> None:
        self._pause_ns = max(self._pause_ns, pause_ns)

    def sample(self) -> None:
        """Write the samples of the interval since the last call."""
        at_ns, used_ns = now_ns(), cpu_ns()
        cores = (used_ns - self._cpu_ns) / max(at_ns - self._at_ns, 1)
        readings: dict[SeriesName, float] = {
            "client_loop_lag_ns": self._lag_ns,
            "client_gc_pause_ns": self._pause_ns,
            "client_worker_cpu_cores": cores,
        }
        self._writer.write(*(sample_row(Sample(at_ns, name, self._label, value)) for name, value in readings.items()))
        self._lag_ns, self._pause_ns, self._at_ns, self._cpu_ns = 0, 0, at_ns, used_ns

    def close(self) -> None:
        self._writer.close()
