"""Readings of Triton's counters at the borders of stages, in this process.

Triton sends a batch's answers first, counts its requests then, and its execution last: a reading right after the last answer may
lack the last batch. A border therefore asks again until what has completed since the border before is counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from trtbench.rundir.records import Sample
from trtbench.system.clock import now_ns, seconds_ns, sleep_s
from trtbench.telemetry.ticker import ReadingTally, Source

OpenSources = Callable[[float], Mapping[str, Callable[[], Source]]]
"""Takes the time limit of an answer in seconds; how to open each source, by name."""

_ANSWER_S = 5.0
_ANSWER_HUNG_S = 0.5  # for a source that did not answer within its limit, until it answers
_PAUSES_S = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.4)  # before the server is asked again: 1 s together
_CATCH_UP_S = 1.0


@dataclass(frozen=True, slots=True)
class Border:
    """`counted_ns`: when Triton's statistics were read, None where they were not. `not_counted`: completed requests they lacked then."""

    samples: list[Sample]
    counted_ns: int | None = None
    not_counted: int = 0


@dataclass(frozen=True, slots=True)
class _Counted:
    """Successful requests, and those of them whose batch is counted too or that the response cache answered."""

    time_ns: int
    requests: float
    in_batches: float

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> _Counted | None:
        """None for samples without Triton's statistics."""
        requests = next((sample for sample in samples if sample.name == "triton_success_count"), None)
        batched = sum(int(sample.label) * sample.value for sample in samples if sample.name == "triton_batch_executions")
        cached = sum(sample.value for sample in samples if sample.name == "response_cache_hit_count")
        return _Counted(requests.time_ns, requests.value, batched + cached) if requests else None

    def lacks(self, completed: int, before: _Counted | None) -> int:
        """Of `completed` requests since `before`; 0 where that is not known: nothing was read before, or the counters began anew."""
        if before is None:
            return 0
        risen = min(self.requests - before.requests, self.in_batches - before.in_batches)
        return max(0, round(completed - risen)) if risen >= 0 else 0


class Borders:
    """Reads at one border after another; `tallies` says how each source answered.

    A source that did not answer within 5 s is given 0.5 s at later borders, until it answers.
    """

    def __init__(self, sources: OpenSources) -> None:
        self.tallies: dict[str, ReadingTally] = {}
        self._sources = sources
        self._hung: set[str] = set()
        self._before: _Counted | None = None

    def read(self, completed: int = 0) -> Border:
        """All sources side by side; one that fails is left out. `completed`: requests since the last border, none in flight now.

        It blocks for some milliseconds, and up to a second longer while the server has not counted what completed.
        """
        readings: list[list[Sample]] = []
        threads = [threading.Thread(target=self._ask, args=(name, completed, readings), daemon=True) for name in self._sources(_ANSWER_S)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        samples = [sample for reading in readings for sample in reading]
        before, self._before = self._before, _Counted.of(samples)
        if self._before is None:
            return Border(samples)
        return Border(samples, self._before.time_ns, self._before.lacks(completed, before))

    def _ask(self, name: str, completed: int, readings: list[list[Sample]]) -> None:
        limit_s = _ANSWER_HUNG_S if name in self._hung else _ANSWER_S
        tally = self.tallies.setdefault(name, ReadingTally())
        asked_ns = now_ns()
        try:
            with closing(self._sources(limit_s)[name]()) as source:
                readings.append(self._caught_up(source, completed))
        except Exception as error:  # a lost server has no reading; that it is lost is known from its process and the requests
            tally.fail(error)
            if now_ns() - asked_ns >= seconds_ns(limit_s):
                self._hung.add(name)
                tally.last_error = f"no answer within {limit_s:g} s, next limit {_ANSWER_HUNG_S:g} s: {tally.last_error}"
        else:
            tally.readings += 1
            self._hung.discard(name)

    def _caught_up(self, source: Source, completed: int) -> list[Sample]:
        until_ns = now_ns() + seconds_ns(_CATCH_UP_S)
        samples = source.read()
        for pause_s in _PAUSES_S:
            counted = _Counted.of(samples)
            if counted is None or not counted.lacks(completed, self._before) or now_ns() > until_ns:
                break
            sleep_s(pause_s)
            samples = source.read()
        return samples
