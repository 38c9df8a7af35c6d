"""ReadPause: how long reading may wait without finding two tokens of one stream together.

The kernel stamps each token when it arrives, so a later read changes no timestamp as long as it holds one token. A reader that looks every
P finds two tokens with a gap g together with the probability 1 - g / P, or never if g >= P. So the gaps that were seen show which share of
reads a pause would spoil.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

LONGEST_NS = 8_000_000
SHORTEST_NS = 400_000
FEWEST_A_PASS = 2.0
"""A pause that gathers fewer tokens saves nothing: a pass wakes the process twice, for the first token and for the end of the pause."""
LONGEST_AT_ENDS_NS = 900_000
"""The longest pause while ends of answers are read after a pause, because a closed loop sends its next request so much later."""
MOST_CROWDED_RATIO = 5e-4
"""The highest share of paced reads with more than one token, half of what the report notes."""
_MOST_PREDICTED_RATIO = 2e-4
_GAPS_KEPT, _GAPS_NEEDED, _GAPS_OF_ONE = 4096, 128, 8
_LOW_RANK, _LOW_SHARE = 0.01, 0.4
"""The pause is at most this share of this quantile of the gaps."""
_READS_NEEDED, _CROWDED_NEEDED = 500, 2  # before the limit is raised, and before it is lowered
_ENDS_NEEDED, _MOST_PACED_ENDS_RATIO = 16, 0.005
_STEP, _FINE_STEP = 2.0, 1.25
_REVIEWS_OFF = 20  # without a pause, after the limit has fallen below the shortest one


class ReadPause:
    """A pause that adapts to what is seen. `pause_ns` is valid until the next `review`; 0: none.

    It is as long as the gaps between tokens allow, and there is none if so few streams are open that it would gather too few tokens. It is
    limited to half of what it was when more than MOST_CROWDED_RATIO of the reads since the last change held several tokens; the limit is
    doubled when the share of all reads so far is below that.
    """

    def __init__(self) -> None:
        self.pause_ns = 0
        self._gaps_ns: deque[int] = deque(maxlen=_GAPS_KEPT)
        self._limit_ns = float(LONGEST_NS)
        self._reviews_off = 0
        self._reads = self._crowded = 0  # since the limit was changed
        self._all_reads = self._all_crowded = 0
        self._ends = self._paced_ends = 0

    def add_arrivals(self, arrivals_ns: Sequence[int]) -> None:
        """Arrivals of the responses of one answer, of which the last few gaps count, so that no answer crowds out the others."""
        self._gaps_ns.extend(later - earlier for earlier, later in pairwise(arrivals_ns[-_GAPS_OF_ONE - 1 :]))

    def add_reads(self, reads: int, crowded: int) -> None:
        """Paced reads, and how many of them held more than one token although this process was on time."""
        self._reads += reads
        self._crowded += crowded
        self._all_reads += reads
        self._all_crowded += crowded

    def add_end(self, paced: bool) -> None:
        """An answer has ended, and this was read after a pause if `paced`."""
        self._ends += 1
        self._paced_ends += paced

    def review(self, streams: int) -> None:
        """Choose the pause until the next review. `streams`: those in the middle of an answer."""
        self._move_limit()
        self.pause_ns = 0
        if self._reviews_off or len(self._gaps_ns) < _GAPS_NEEDED:
            return
        gaps_ns = np.fromiter(self._gaps_ns, float)
        low_ns = float(np.partition(gaps_ns, rank := int(_LOW_RANK * len(gaps_ns)))[rank])
        pause_ns = min(self._limit_ns, LONGEST_NS if self._reads_ends_at_once else LONGEST_AT_ENDS_NS, _LOW_SHARE * low_ns)
        least_ns = max(SHORTEST_NS, FEWEST_A_PASS * float(gaps_ns.mean()) / max(streams, 1))
        short_ns = gaps_ns[gaps_ns < pause_ns]
        while pause_ns >= least_ns:
            if _crowded(short_ns, pause_ns) <= _MOST_PREDICTED_RATIO * len(gaps_ns):
                self.pause_ns = int(pause_ns)
                return
            pause_ns /= _FINE_STEP

    @property
    def _reads_ends_at_once(self) -> bool:
        return self._ends >= _ENDS_NEEDED and self._paced_ends <= _MOST_PACED_ENDS_RATIO * self._ends

    def _move_limit(self) -> None:
        self._reviews_off = max(self._reviews_off - 1, 0)
        if self._crowded >= _CROWDED_NEEDED and self._crowded > MOST_CROWDED_RATIO * self._reads:
            self._limit_ns = min(self._limit_ns, self.pause_ns or self._limit_ns) / _STEP
            if self._limit_ns < SHORTEST_NS:
                self._limit_ns, self._reviews_off = float(SHORTEST_NS), _REVIEWS_OFF
        elif self._reads >= _READS_NEEDED and self._all_crowded <= MOST_CROWDED_RATIO * self._all_reads:
            self._limit_ns = min(self._limit_ns * _STEP, LONGEST_NS)
        else:
            return
        self._reads = self._crowded = 0


class EndLags:
    """The delays with which the ends of answers were read, of those that were read after a pause."""

    def __init__(self) -> None:
        self.answers = self.paced = 0
        self._counts: Counter[int] = Counter()

    def add(self, lag_ns: int | None) -> None:
        """An answer has ended. `lag_ns` is None if its end was read at once."""
        self.answers += 1
        if lag_ns is not None:
            self.paced += 1
            self._counts[-(-lag_ns // _LAG_STEP_NS)] += 1

    @property
    def p99_ns(self) -> int:
        """The 99th percentile over all answers, rounded up to 0.05 ms, where the end that was read at once has 0."""
        beyond = self.answers // 100
        for step in sorted(self._counts, reverse=True):
            if self._counts[step] > beyond:
                return step * _LAG_STEP_NS
            beyond -= self._counts[step]
        return 0


_LAG_STEP_NS = 50_000


def _crowded(gaps_ns: npt.NDArray[np.float64], pause_ns: float) -> float:
    """The number of tokens with these gaps before them that are read with the one before, if reads are `pause_ns` apart."""
    return float(np.maximum(1 - gaps_ns / pause_ns, 0).sum())
