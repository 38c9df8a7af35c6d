"""The judge of one probe: orders its requests, leaves out the first, forms blocks, and asks the test of each clause.

Requests count in the order in which they were due, each only when every one before it is over. Counting them as they end would count the
fast ones first, and end a probe before its slow ones are known. The first block is left out, as the time in which the load reaches its
level. In an open loop a queue that only grows breaks the SLO too, whatever the latencies so far: they grow without bound.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from trtbench.analysis.verdict.verdict import Reason
from trtbench.experiments.capacity.bracketing import Verdict
from trtbench.experiments.capacity.sequential_test import LEAST_BLOCKS, ClauseTest
from trtbench.experiments.capacity.spec import Clause
from trtbench.rundir.experiment_events import ProbedClause
from trtbench.rundir.latency_limits import FinishedRequest

BLOCK_S = 1.0
BLOCK_REQUESTS = 5
"""The least length of a block; of a closed loop it also has a request of every user."""
BACKLOG_BLOCKS = 6
BACKLOG_ERRORS = 4.0
BACKLOG_RATIO = 0.05
"""A queue grows without bound if the mean growth of a block is over this number of its standard errors, and over this share of the
arrivals. In a queue that is stable the growth of one block is undone by a later one, so that its mean goes to zero.
"""
OVERLOAD_FACTOR = 4.0
"""An open loop begins with an empty queue. It holds, before its end, only after this number of times in which an overload as small as the
resolution would have filled the queue up to the longest limit: limit / resolution.
"""
_FEWEST_BLOCKS = 2 * LEAST_BLOCKS
"""Blocks of a probe that was over before `LEAST_BLOCKS` of `BLOCK_S` were: those of a server that answers thousands a second."""
_NS_PER_S = 1_000_000_000


class ProbeJudge:
    """Takes the requests of a probe as they end. `verdict` may be asked at any time; once it is given it stays, unless `whole` is set,
    where it comes at the end, on all requests.
    """

    def __init__(self, slo: Sequence[Clause], users: int | None, resolution: float, whole: bool = False) -> None:
        """`users`: of a closed loop; None for an open loop."""
        self._slo, self._open_loop, self._whole = slo, users is None, whole
        self._settled_ns = 0.0 if users else OVERLOAD_FACTOR * max(clause.limit.limit_ns for clause in slo) / resolution
        self._waiting: list[FinishedRequest] = []
        self._verdict: Verdict | None = None
        self._begin(max(BLOCK_REQUESTS, users or 0), BLOCK_S)

    def _begin(self, block_requests: int, block_s: float) -> None:
        """Begin without any request, with blocks of at least this size."""
        self.tests = [ClauseTest(clause.allowed_ratio, len(self._slo)) for clause in self._slo]
        self.jointly_broken = 0
        self._block_requests, self._block_ns = block_requests, block_s * _NS_PER_S
        self._first: list[FinishedRequest] = []  # until there are enough blocks for a verdict
        self._block: list[FinishedRequest] = []
        self._done_ns: list[int] = []
        self._backlog = self._growths = self._growth = self._growth_squares = 0
        self._begun_ns: int | None = None

    def add(self, finished: Iterable[FinishedRequest]) -> None:
        self._waiting += finished

    def verdict(self, until_ns: int) -> Verdict | None:
        """The verdict when all requests due before `until_ns` are over and were added; None if it is not certain enough yet."""
        for request in self._due_before(until_ns):
            self._take(request)
            if self._verdict:
                break
        return self._verdict

    def conclude(self) -> Verdict:
        """The verdict when the probe is over."""
        for request in self._due_before(None):
            self._take(request)
        every = self._first
        if every and len(every) >= _FEWEST_BLOCKS * self._block_requests:  # all of them in less time than blocks take
            self._begin(len(every) // _FEWEST_BLOCKS, 0.0)
            for request in every:
                self._take(request)
        if self._block:
            self._close(self._block[-1][0])
        self._verdict = self._verdict or self._on_all() or "undecided"
        return self._verdict

    @property
    def requests(self) -> int:
        """Requests that were judged."""
        return self.tests[0].requests

    @property
    def broken_by(self) -> tuple[str, ...]:
        """The clauses that broke, the one that is furthest beyond its allowed share first; backlog for a queue that only grew."""
        broke = [one for one in zip(self._slo, self.tests, strict=True) if one[1].decision == "breaks"]
        broke.sort(key=lambda one: -one[1].broken / one[1].requests / one[0].allowed_ratio)
        return (*(clause.label for clause, _ in broke), *(("backlog",) if self.backlog_grows else ()))

    @property
    def backlog_grows(self) -> bool:
        """Whether the queue of an open loop grew in a way that does not end."""
        blocks, growth = self._growths, self._growth
        if not self._open_loop or blocks < BACKLOG_BLOCKS or growth <= BACKLOG_RATIO * self.requests:
            return False
        mean = growth / blocks
        error = math.sqrt((self._growth_squares / blocks - mean**2) / (blocks - 1))
        return mean > BACKLOG_ERRORS * error

    def clauses(self) -> list[ProbedClause]:
        """The evidence of each clause."""
        return [
            ProbedClause(clause=clause.label, requests=test.requests, broken=test.broken, dispersion=test.dispersion, verdict=test.decision)
            for clause, test in zip(self._slo, self.tests, strict=True)
        ]

    def _due_before(self, until_ns: int | None) -> list[FinishedRequest]:
        self._waiting.sort()
        cut = len(self._waiting) if until_ns is None else bisect_left(self._waiting, (until_ns,))
        taken, self._waiting = self._waiting[:cut], self._waiting[cut:]
        return taken

    def _take(self, request: FinishedRequest) -> None:
        self._block.append(request)
        if self._growths < LEAST_BLOCKS:
            self._first.append(request)
        first_ns, last_ns = self._block[0][0], self._block[-1][0]
        if len(self._block) >= self._block_requests and last_ns - first_ns >= self._block_ns:
            self._close(last_ns)

    def _close(self, due_ns: int) -> None:
        """End a block whose last request was due at `due_ns`."""
        block, self._block = self._block, []
        self._done_ns = [done_ns for done_ns in self._done_ns if done_ns > due_ns] + [done for _, done, _ in block if done > due_ns]
        growth, self._backlog = len(self._done_ns) - self._backlog, len(self._done_ns)
        if self._begun_ns is None:
            self._begun_ns = due_ns
            return
        self._growths, self._growth, self._growth_squares = self._growths + 1, self._growth + growth, self._growth_squares + growth**2
        if self._growths == LEAST_BLOCKS:
            self._first = []
        self.jointly_broken += sum(broken != 0 for _, _, broken in block)
        for place, test in enumerate(self.tests):
            test.add_block(len(block), sum(broken >> place & 1 for _, _, broken in block))
        if not self._whole:
            self._verdict = self._verdict or self._on_all()
            if self._verdict == "holds" and due_ns - self._begun_ns < self._settled_ns:
                self._verdict = None

    def _on_all(self) -> Verdict | None:
        decisions = [test.decision for test in self.tests]
        if "breaks" in decisions or self.backlog_grows:
            return "breaks"
        return "holds" if all(decision == "holds" for decision in decisions) else None


_LOAD_NOT_THERE = {"level_not_reached", "rate_off"}
"""The server did not get the load, so nothing is known of it at that load."""
_CLIENT_BOUND = {"send_lag", "client_cpu", "loop_lag", "gc_pause", "coalesced", "stamp_lag"}
"""The load generator may be what was slow."""
_TOO_EARLY = {"equation"}
"""Not a doubt yet: the last records may not be on file when the probe ends. The report counts them when all are."""


def unusable_because(verdict: Verdict, reasons: Iterable[Reason]) -> list[str]:
    """The codes of the reasons for which a probe with this verdict says nothing of the server; none if it is usable.

    A late client makes latencies longer, because they count from when requests were due. So it forbids only the verdict that the SLO
    breaks. An INVALID probe is never usable.
    """
    forbidding = _LOAD_NOT_THERE | _CLIENT_BOUND if verdict == "breaks" else _LOAD_NOT_THERE
    found = [one for one in reasons if one.code not in _TOO_EARLY]
    return [one.code for one in found if one.grade == "invalid" or (one.grade == "suspect" and one.code in forbidding)]
