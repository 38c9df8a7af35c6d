"""Readings of several servers as if they were one, and of each beside it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from trtbench.rundir.records import Sample
from trtbench.telemetry.ticker import Source

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
