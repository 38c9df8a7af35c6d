"""Readings of a server's counters at the borders of stages, in the process of the run.

A server counts a request after its answer has left: Triton sends the answers of a batch first, then counts its requests, and counts its
execution last. A reading right after the last answer may therefore lack the last batch. It is repeated until all requests that completed
since the previous border are counted.
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
"""Takes the time limit of an answer in seconds, and returns how to open each source, by name."""

_ANSWER_S = 5.0
_ANSWER_HUNG_S = 0.5  # for a source that did not answer within its limit, until it answers
_PAUSES_S = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.4)  # between two questions to the server, 1 s in all
_CATCH_UP_S = 1.0


@dataclass(frozen=True, slots=True)
class Border:
    """`counted_ns`: when Triton's statistics were read, or None. `not_counted`: completed requests that they did not contain."""

    samples: list[Sample]
    counted_ns: int | None = None
    not_counted: int = 0


@dataclass(frozen=True, slots=True)
class _Counted:
    """Successful requests, and those whose batch is also counted or that the response cache answered."""

    time_ns: int
    requests: float
    in_batches: float

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> _Counted | None:
        """The counts of Triton's statistics, or the finished requests of another server's metrics page; None without either."""
        requests = next((sample for sample in samples if sample.name in ("triton_success_count", "engine_requests")), None)
        if requests and requests.name == "engine_requests":
            return cls(requests.time_ns, requests.value, requests.value)
        batched = sum(int(sample.label) * sample.value for sample in samples if sample.name == "triton_batch_executions")
        cached = sum(sample.value for sample in samples if sample.name == "response_cache_hit_count")
        return _Counted(requests.time_ns, requests.value, batched + cached) if requests else None

    def lacks(self, completed: int, before: _Counted | None) -> int:
        """`completed` requests since `before` that are not counted; 0 if unknown: no earlier reading, or counters that restarted."""
        if before is None:
            return 0
        risen = min(self.requests - before.requests, self.in_batches - before.in_batches)
        return max(0, round(completed - risen)) if risen >= 0 else 0


class Borders:
    """Reads every border; `tallies` counts how each source answered.

    A source that did not answer within 5 s has 0.5 s at later borders, until it answers.
    """

    def __init__(self, sources: OpenSources) -> None:
        self.tallies: dict[str, ReadingTally] = {}
        self._sources = sources
        self._hung: set[str] = set()
        self._before: _Counted | None = None

    def read(self, completed: int = 0) -> Border:
        """Read all sources at the same time, and leave out one that fails. `completed`: requests since the last border; none is in flight.

        It blocks for some milliseconds, and for up to a second longer while the server has not counted the completed requests.
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
        except Exception as error:  # a lost server has no reading; its process and the requests show that it is lost
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
