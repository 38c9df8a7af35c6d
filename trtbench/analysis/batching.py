"""Two batchers: Triton's (how requests entered the model) and the engine's in-flight batch (what really ran together)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.window import Level, border_readings, increase, inside, rise
from trtbench.rundir import Samples


@dataclass(frozen=True, slots=True)
class TritonBatching:
    """From deltas of Triton's statistics over a stage; `histogram` maps batch size to executions.

    The tensorrtllm C++ backend reports every request as a batch of one: there only `inflight` below tells anything.
    """

    histogram: dict[int, int]
    inferences: int
    executions: int
    batch_hit_ratio: float | None  # inferences in a batch of 2 or more / all
    mean_batch: float | None  # inferences / executions
    fill_ratio: float | None  # mean batch / max_batch_size
    queue_mean_ns: int | None  # in Triton's own queue, per successful request


@dataclass(frozen=True, slots=True)
class InflightBatching:
    """The engine's running batch as sampled; `histogram` maps its size to readings."""

    histogram: dict[int, int]
    running: Level
    waiting: Level | None
    batched_ratio: float  # readings with 2 or more
    limit: int | None  # most that the engine would run together


def triton_batching(samples: Samples, start_ns: int, end_ns: int, max_batch_size: int | None) -> TritonBatching | None:
    """None where Triton's statistics were not read at the stage's start."""
    borders = border_readings(samples.series("triton_inference_count"), start_ns, end_ns)
    if borders is None:
        return None
    inferences = rise(samples.series("triton_inference_count"), *borders)
    executions = rise(samples.series("triton_execution_count"), *borders)
    sizes = {
        int(label): round(rise(samples.series("triton_batch_executions", label), *borders))
        for label in sorted(samples.labels("triton_batch_executions"), key=int)
    }
    histogram = {size: count for size, count in sizes.items() if count}
    counted = sum(size * count for size, count in histogram.items())
    batched = sum(size * count for size, count in histogram.items() if size >= 2)
    mean = inferences / executions if executions else None
    return TritonBatching(
        histogram=histogram,
        inferences=round(inferences),
        executions=round(executions),
        batch_hit_ratio=batched / counted if counted else None,
        mean_batch=mean,
        fill_ratio=mean / max_batch_size if mean is not None and max_batch_size else None,
        queue_mean_ns=_queue_mean_ns(samples, start_ns, end_ns),
    )


def inflight_batching(samples: Samples, start_ns: int, end_ns: int) -> InflightBatching | None:
    """None where the engine shows no in-flight metrics, or none fell into the window."""
    scheduled = inside(samples.series("inflight_scheduled_requests"), start_ns, end_ns)
    running = Level.of(scheduled)
    if running is None:
        return None
    limit = Level.of(inside(samples.series("inflight_max_requests"), start_ns, end_ns))
    return InflightBatching(
        histogram={int(size): count for size, count in sorted(Counter(scheduled.tolist()).items())},
        running=running,
        waiting=Level.of(inside(samples.series("inflight_waiting_requests"), start_ns, end_ns)),
        batched_ratio=float(np.mean(scheduled >= 2)),
        limit=int(limit.max) if limit else None,
    )


def _queue_mean_ns(samples: Samples, start_ns: int, end_ns: int) -> int | None:
    queued = increase(samples.series("triton_queue_ns"), start_ns, end_ns)
    requests = increase(samples.series("triton_success_count"), start_ns, end_ns)
    return round(queued / requests) if queued is not None and requests else None
