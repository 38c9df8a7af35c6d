"""Reading sampled series over a window of time.

A series is (time_ns [n], value [n]) in time order. Counters are cumulative and may restart from zero when a model is reloaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trtbench.rundir.samples import Samples, Series


@dataclass(frozen=True, slots=True)
class Level:
    """A gauge over a window with equal weight for each reading; the unit is in the name of the field that holds it."""

    mean: float
    min: float
    max: float

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> Level | None:
        """The level of these readings, or None without readings."""
        return cls(float(values.mean()), float(values.min()), float(values.max())) if len(values) else None


def inside(series: Series, start_ns: int, end_ns: int) -> npt.NDArray[np.float64]:
    """The values read at start_ns <= time <= end_ns."""
    times, values = series
    return values[np.searchsorted(times, start_ns, "left") : np.searchsorted(times, end_ns, "right")]


def peak(series: Series, start_ns: int, end_ns: int) -> float | None:
    values = inside(series, start_ns, end_ns)
    return float(values.max()) if len(values) else None


def last_before(series: Series, at_ns: int) -> float | None:
    """The last reading at or before an instant."""
    times, values = series
    position = int(np.searchsorted(times, at_ns, "right")) - 1
    return float(values[position]) if position >= 0 else None


def gpu_memory(samples: Samples) -> Series:
    """Used bytes summed over all GPUs, at the readings of the first GPU from the time on when all were read. Each other GPU counts with
    its last reading before.

    The result is empty without a GPU.
    """
    first, *others = [samples.series("gpu_memory_used_bytes", label) for label in samples.labels("gpu_memory_used_bytes")] or [
        samples.series("gpu_memory_used_bytes")
    ]
    begun = max((read[0] for read, _ in others), default=0)  # they are read one after another
    whole = first[0] >= begun
    times, total = first[0][whole], first[1][whole]
    for read, values in others:
        total = total + values[np.searchsorted(read, times, "right") - 1]
    return times, total


def increase(series: Series, start_ns: int, end_ns: int) -> float | None:
    """The increase of a counter between its last reading at or before the start and its first at or after the end.

    A decrease means that the counter was reset, and its value then counts as the increase. If there is no reading after the end, the last
    one is used. None if there is no reading before the start.
    """
    borders = border_readings(series, start_ns, end_ns)
    return None if borders is None else rise(series, *borders)


def border_readings(series: Series, start_ns: int, end_ns: int) -> tuple[int, int] | None:
    """The instants of the two readings that `increase` subtracts."""
    times, _ = series
    first = int(np.searchsorted(times, start_ns, "right")) - 1
    if first < 0:
        return None
    last = min(int(np.searchsorted(times, end_ns, "left")), len(times) - 1)
    return int(times[first]), int(times[max(first, last)])


def rise(series: Series, from_ns: int, to_ns: int) -> float:
    """The increase between the readings at or before two instants. A counter that appears only with its first count was 0 before."""
    times, values = series
    first, last = (int(np.searchsorted(times, instant, "right")) for instant in (from_ns, to_ns))
    read = np.concatenate([values[first - 1 : first] if first else [0.0], values[first:last]])
    steps = np.diff(read)
    return float(np.where(steps < 0, read[1:], steps).sum())
