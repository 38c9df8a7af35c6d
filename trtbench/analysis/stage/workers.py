"""The worker processes of the load generator during a stage, as sampled. Series are labelled by worker; older runs with one process have
no label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trtbench.analysis.stats.percentile import nearest_rank
from trtbench.analysis.stats.window import Level, inside
from trtbench.rundir.samples import Samples
from trtbench.rundir.series import SeriesName


@dataclass(frozen=True, slots=True)
class Worker:
    """Figures of one worker process. A field is None if it was not sampled."""

    cpu_cores: Level | None
    loop_lag_ns: Level | None
    loop_lag_p50_ns: float | None  # half of all sampling intervals had a timer later than this
    gc_pause_ns: Level | None


def workers(samples: Samples, start_ns: int, end_ns: int) -> dict[str, Worker]:
    """Figures of each worker, by its label. If no worker has a CPU series, each gets an equal share of `client_cpu_cores`."""
    found = samples.labels("client_loop_lag_ns", "client_gc_pause_ns", "client_worker_cpu_cores")
    labels = sorted(found, key=lambda label: (len(label), label)) or [""]
    together = inside(samples.series("client_cpu_cores"), start_ns, end_ns)
    share = None if samples.labels("client_worker_cpu_cores") else Level.of(together / len(labels))
    return {label: _worker(samples, label, start_ns, end_ns, share) for label in labels}


def _worker(samples: Samples, label: str, start_ns: int, end_ns: int, cpu_share: Level | None) -> Worker:
    def read(name: SeriesName) -> npt.NDArray[np.float64]:
        """The readings of one worker inside the stage. A reading covers the interval before it, so the first one, which began before the
        stage, is left out.
        """
        return inside(samples.series(name, label), start_ns, end_ns)[1 if label else 0 :]

    lag = np.sort(read("client_loop_lag_ns"))
    return Worker(
        cpu_cores=Level.of(read("client_worker_cpu_cores")) or cpu_share,
        loop_lag_ns=Level.of(lag),
        loop_lag_p50_ns=nearest_rank(lag, 500) if len(lag) else None,
        gc_pause_ns=Level.of(read("client_gc_pause_ns")),
    )


def busiest(found: Mapping[str, Worker]) -> tuple[str, float] | None:
    """(Label, mean CPU in cores) of the worker that used most CPU; None if none was sampled."""
    used = {label: worker.cpu_cores.mean for label, worker in found.items() if worker.cpu_cores}
    return max(used.items(), key=lambda pair: pair[1]) if used else None


def longest_pause_ns(found: Mapping[str, Worker]) -> float | None:
    """The longest garbage collection of any worker; None if none was sampled."""
    return max((worker.gc_pause_ns.max for worker in found.values() if worker.gc_pause_ns), default=None)
