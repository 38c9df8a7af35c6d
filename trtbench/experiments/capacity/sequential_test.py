"""A sequential test of one clause of an SLO: whether the share of requests that break a limit is below or above the allowed share.

Wald's sequential probability ratio test (A. Wald, Sequential Tests of Statistical Hypotheses, Ann. Math. Stat. 16, 1945) of two shares
on both sides of the allowed one, which are the indifference zone: their odds are the allowed share's divided and multiplied by
`ODDS_FACTOR`. Outside the zone the probability of a wrong verdict is about `ERROR_RATIO` at most, however often the test is asked; inside
it either verdict may come. If none has come when the probe ends, the probe is undecided.

Requests near each other are not independent, because they wait in the same queue. They are therefore counted in blocks, and the log
likelihood ratio is divided by the dispersion of the blocks (Pearson's statistic divided by its degrees of freedom; P. McCullagh and
J. A. Nelder, Generalized Linear Models, 1989, section 4.5), at least 1: that number of requests is worth one independent request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

ERROR_RATIO = 0.05
"""Probability of a wrong verdict of one probe outside the indifference zone, for each kind of error."""
ODDS_FACTOR = 1.5
"""The ratio of the odds at each side of the indifference zone to those of the allowed share."""
LEAST_BLOCKS = 4
"""Blocks before the first verdict, because the dispersion of fewer is not known."""
_Z95 = 1.959964

Decision = Literal["holds", "breaks"]


@dataclass(frozen=True, slots=True)
class Zone:
    """The shares of requests that break a limit between which the test may give either verdict."""

    good_ratio: float
    bad_ratio: float

    @classmethod
    def around(cls, allowed_ratio: float) -> Zone:
        odds = allowed_ratio / (1 - allowed_ratio)
        good, bad = odds / ODDS_FACTOR, odds * ODDS_FACTOR
        return cls(good / (1 + good), bad / (1 + bad))

    def log_ratio(self, requests: int, broken: int) -> float:
        """The log likelihood ratio of the bad share to the good one."""
        per_broken = math.log(self.bad_ratio / self.good_ratio)
        per_kept = math.log((1 - self.bad_ratio) / (1 - self.good_ratio))
        return broken * per_broken + (requests - broken) * per_kept

    def least_requests(self, clauses: int) -> int:
        """The number of requests, all of which keep the limit, after which the test says that it holds."""
        return math.ceil(_bounds(clauses)[0] / self.log_ratio(1, 0))


def _bounds(clauses: int) -> tuple[float, float]:
    """The log likelihood ratios at which a clause holds, and at which it breaks. Any of several clauses breaks a probe, so the
    probability of a false break is divided among them.
    """
    false_break = ERROR_RATIO / clauses
    return math.log(ERROR_RATIO / (1 - false_break)), math.log((1 - ERROR_RATIO) / false_break)


@dataclass(slots=True)
class ClauseTest:
    """The test of one clause of `clauses`, of requests in blocks of (requests, broken)."""

    allowed_ratio: float
    clauses: int = 1
    blocks: list[tuple[int, int]] = field(default_factory=list)
    requests: int = 0
    broken: int = 0

    def add_block(self, requests: int, broken: int) -> None:
        self.blocks.append((requests, broken))
        self.requests += requests
        self.broken += broken

    @property
    def decision(self) -> Decision | None:
        """The verdict on the requests so far; None if it is not certain, or if there are too few blocks."""
        if len(self.blocks) < LEAST_BLOCKS:
            return None
        holds, breaks = _bounds(self.clauses)
        ratio = Zone.around(self.allowed_ratio).log_ratio(self.requests, self.broken)
        if holds < ratio < breaks:  # the dispersion only makes it smaller
            return None
        ratio /= self.dispersion
        return "holds" if ratio <= holds else "breaks" if ratio >= breaks else None

    @property
    def dispersion(self) -> float:
        """The largest dispersion of the blocks and of 2, 4, 8 ... of them taken together, as long as there are `LEAST_BLOCKS`, because
        the length of a correlation is not known before.
        """
        found, blocks = 1.0, self.blocks
        while len(blocks) >= LEAST_BLOCKS:
            found = max(found, self._dispersion_of(blocks))
            blocks = [(a + c, b + d) for (a, b), (c, d) in zip(blocks[::2], blocks[1::2], strict=False)]
        return found

    def _dispersion_of(self, blocks: Sequence[tuple[int, int]]) -> float:
        """Pearson's dispersion of the blocks, at least 1; 1 if all requests or none are broken."""
        share = self.broken / max(self.requests, 1)
        if not 0 < share < 1 or len(blocks) < 2:
            return 1.0
        squares = sum((broken - requests * share) ** 2 / requests for requests, broken in blocks)
        return max(1.0, squares / (share * (1 - share)) / (len(blocks) - 1))


def kept_interval(requests: int, broken: int, dispersion: float) -> tuple[float, float]:
    """The 95 % interval of the share that keeps a limit (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927), for requests / dispersion
    independent requests; 0 to 1 without requests. Of a probe that its verdict ended, it is a little too narrow.
    """
    if not requests:
        return 0.0, 1.0
    count, share, squared = requests / dispersion, 1 - broken / requests, _Z95**2
    middle = (share + squared / (2 * count)) / (1 + squared / count)
    half = _Z95 / (1 + squared / count) * math.sqrt(share * (1 - share) / count + squared / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)
