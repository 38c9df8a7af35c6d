"""Steadiness: whether the figures of a running stage have stopped moving. Pure arithmetic on what it is told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil

from trtbench.scenario.scenario import Stability
from trtbench.system.clock import seconds_ns


class Steadiness:
    """Windows of equal length from `start_ns` on; a request falls into the one in which it was done.

    Steady: over the last `rule.windows` whole windows neither the rate of completions nor the p99 of latency (nearest rank, of however
    many there are) is further than `rule.ratio` from its mean over those windows.
    """

    def __init__(self, rule: Stability, start_ns: int) -> None:
        self._rule, self._start_ns = rule, start_ns
        self._window_ns = seconds_ns(rule.window_s)
        self._latencies_ns: defaultdict[int, list[int]] = defaultdict(list)

    def add(self, finished: Iterable[tuple[int, int]]) -> None:
        """(done_ns, latency_ns) of completed requests."""
        for done_ns, latency_ns in finished:
            self._latencies_ns[(done_ns - self._start_ns) // self._window_ns].append(latency_ns)

    def reached(self, until_ns: int) -> bool:
        """Judged by the windows that were over at `until_ns`; every request done before it must have been added."""
        over = (until_ns - self._start_ns) // self._window_ns
        last = [self._latencies_ns.get(window, []) for window in range(over - self._rule.windows, over)]
        if over < self._rule.windows or not all(last):
            return False
        return self._close([len(window) for window in last]) and self._close([_p99(window) for window in last])

    def _close(self, values: Sequence[int]) -> bool:
        mean = sum(values) / len(values)
        return all(abs(value - mean) <= self._rule.ratio * mean for value in values)


def _p99(latencies_ns: list[int]) -> int:
    return sorted(latencies_ns)[ceil(0.99 * len(latencies_ns)) - 1]
