"""One source of samples, read on a grid of absolute deadlines by a thread of its own, so that no source waits for another.

Together reads several servers as if they were one, and gives the readings of each beside it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from trtbench.rundir import LineWriter, sample_row
from trtbench.rundir.records import Sample
from trtbench.system.clock import NS_PER_S, now_ns


class Source(Protocol):
    """Something that can be read again and again; a reading that fails raises."""

    def read(self) -> list[Sample]: ...

    def close(self) -> None: ...


@dataclass
class ReadingTally:
    """What became of a source's ticks: readings + failures + skipped = ticks that passed, and one more for the reading at the end.

    `skipped` ticks went by while an earlier reading was still under way. `last_error` is "" while none failed. `note`: what the
    source cannot tell here.
    """

    readings: int = 0
    failures: int = 0
    skipped: int = 0
    last_error: str = ""
    note: str = ""

    def fail(self, error: Exception) -> None:
        self.failures += 1
        self.last_error = f"{type(error).__name__}: {' '.join(str(error).split())}"  # gRPC's span many lines


def next_tick(start_ns: int, interval_ns: int, instant_ns: int) -> int:
    """Number k >= 0 of the first tick, due at start_ns + k x interval_ns, that lies at or after `instant_ns`."""
    return max(0, -((start_ns - instant_ns) // interval_ns))


class Ticker(threading.Thread):
    """Reads a source at every tick and appends its samples; ticks missed are skipped, never made up for in a bunch.

    Asked to stop, it reads once more: what came since the last tick, an XID or the last steps of a counter, would be lost.
    """

    def __init__(
        self, name: str, open_source: Callable[[], Source], writer: LineWriter, start_ns: int, interval_ns: int, stop: threading.Event
    ) -> None:
        super().__init__(name=name, daemon=True)  # daemon: a source that hangs must not keep the process alive
        self.tally = ReadingTally()
        self._open_source = open_source
        self._source: Source | None = None
        self._writer = writer
        self._start_ns = start_ns
        self._interval_ns = interval_ns
        self._stop_asked = stop

    def run(self) -> None:
        tick = 0
        while not self._stop_asked.wait(max(0, self._start_ns + tick * self._interval_ns - now_ns()) / NS_PER_S):
            self._read()
            following = max(tick + 1, next_tick(self._start_ns, self._interval_ns, now_ns()))
            self.tally.skipped += following - tick - 1
            tick = following
        self._read()
        if self._source is not None:
            self._source.close()

    def _read(self) -> None:
        try:
            if self._source is None:
                self._source = self._open_source()
                self.tally.note = getattr(self._source, "note", "")
            samples = self._source.read()
            if samples:
                self._writer.write(*map(sample_row, samples))
            self.tally.readings += 1
        except Exception as error:  # whatever a source meets, its thread goes on: the next tick may find the server again
            self.tally.fail(error)


_MEANS = {"kv_block_tokens", "response_cache_used_ratio"}  # a size that all share, a share; all else is a count or a level, and adds up
_OF_EACH = {"triton_success_count": "replica_success_count"}


def together(sources: Sequence[Source]) -> Source:
    """One source; a single one stays as it is."""
    return sources[0] if len(sources) == 1 else Together(sources)


class Together:
    """Sums by name and label, stamped between the first and the last answer. A reading that one server fails fails whole:

    a sum over some of the servers would read as all of them.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def read(self) -> list[Sample]:
        return summed([source.read() for source in self._sources])

    def close(self) -> None:
        for source in self._sources:
            source.close()


def summed(readings: Sequence[list[Sample]]) -> list[Sample]:
    """`readings`: of each server in its order. A series that a server does not have yet adds nothing; a mean is of those that have it."""
    samples = [sample for reading in readings for sample in reading]
    if not samples:
        return []
    time_ns = (min(sample.time_ns for sample in samples) + max(sample.time_ns for sample in samples)) // 2
    values: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        values.setdefault((sample.name, sample.label), []).append(sample.value)
    totals = {series: fmean(each) if series[0] in _MEANS else sum(each) for series, each in values.items()}
    of_each = [
        Sample(time_ns, _OF_EACH[sample.name], str(number), sample.value)
        for number, reading in enumerate(readings)
        for sample in reading
        if sample.name in _OF_EACH
    ]
    return [Sample(time_ns, name, label, value) for (name, label), value in totals.items()] + of_each
