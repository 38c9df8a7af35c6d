"""One source of samples, read at absolute deadlines by its own thread, so that no source waits for another.

`Together` reads several servers as one, and adds the readings of each; `OfClasses` the models of one server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Protocol

from trtbench.rundir.event_kinds import SourceTally
from trtbench.rundir.lines import LineWriter, sample_row
from trtbench.rundir.records import Sample
from trtbench.rundir.series import AnySeries
from trtbench.system.clock import NS_PER_S, now_ns


class Source(Protocol):
    """Can be read repeatedly; a reading that fails raises."""

    def read(self) -> list[Sample]: ...

    def close(self) -> None: ...


class ReadingTally(SourceTally):
    """A tally while it is counted."""

    __slots__ = ()

    def fail(self, error: Exception) -> None:
        self.failures += 1
        self.last_error = f"{type(error).__name__}: {' '.join(str(error).split())}"  # gRPC's span many lines


def next_tick(start_ns: int, interval_ns: int, instant_ns: int) -> int:
    """Number k >= 0 of the first tick, due at start_ns + k x interval_ns, that lies at or after `instant_ns`."""
    return max(0, -((start_ns - instant_ns) // interval_ns))


class Ticker(threading.Thread):
    """Reads a source at every tick and appends its samples; missed ticks are skipped.

    When it stops it reads once more, because changes since the last tick (an XID, the last steps of a counter) would be lost.
    """

    def __init__(
        self, name: str, open_source: Callable[[], Source], writer: LineWriter, start_ns: int, interval_ns: int, stop: threading.Event
    ) -> None:
        super().__init__(name=name, daemon=True)  # daemon, because a source that hangs must not keep the process alive
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
        except Exception as error:  # the thread continues after any failure: the server may answer at the next tick
            self.tally.fail(error)


_MEANS: set[AnySeries] = {"kv_block_tokens", "response_cache_used_ratio"}
"""A common size and a ratio; all other series are sums."""
_OF_EACH: dict[AnySeries, AnySeries] = {"triton_success_count": "replica_success_count"}


def together(sources: Sequence[Source]) -> Source:
    """One source; a single one stays as it is."""
    return sources[0] if len(sources) == 1 else Together(sources)


class Together:
    """Sums by name and label, stamped between the first and the last answer.

    A reading fails when one server fails, because a sum over some servers would look like a sum over all.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def read(self) -> list[Sample]:
        return summed([source.read() for source in self._sources])

    def close(self) -> None:
        for source in self._sources:
            source.close()


class OfClasses:
    """The models of length classes in one server: the sum of all, as of one model, and each series of each class.

    A reading fails when one of them fails, because the sum would lack a class.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    def read(self) -> list[Sample]:
        readings = {name: source.read() for name, source in self._sources.items()}
        of_each = [
            Sample(sample.time_ns, "length_class", f"{name}/{sample.name}/{sample.label}", sample.value)
            for name, reading in readings.items()
            for sample in reading
        ]
        return totals(list(readings.values())) + of_each

    def close(self) -> None:
        for source in self._sources.values():
            source.close()


def summed(readings: Sequence[list[Sample]]) -> list[Sample]:
    """The totals of servers, with the requests of each. `readings`: one for each server, in order."""
    found = totals(readings)
    of_each = [
        Sample(found[0].time_ns, _OF_EACH[sample.name], str(number), sample.value)
        for number, reading in enumerate(readings)
        for sample in reading
        if sample.name in _OF_EACH
    ]
    return found + of_each


def totals(readings: Sequence[list[Sample]]) -> list[Sample]:
    """Sums by name and label. A reading without a series adds nothing to its sum, and is left out of its mean."""
    samples = [sample for reading in readings for sample in reading]
    if not samples:
        return []
    time_ns = (min(sample.time_ns for sample in samples) + max(sample.time_ns for sample in samples)) // 2
    values: dict[tuple[AnySeries, str], list[float]] = {}
    for sample in samples:
        values.setdefault((sample.name, sample.label), []).append(sample.value)
    return [Sample(time_ns, name, label, fmean(each) if name in _MEANS else sum(each)) for (name, label), each in values.items()]
