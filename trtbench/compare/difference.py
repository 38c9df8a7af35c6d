"""One metric of one pair of stages: both values, their difference with its interval, and what can be said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from trtbench.analysis.named_figures import NamedFigure
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.compare.compared_metric import better_direction
from trtbench.compare.interval import (
    SIDE,
    Interval,
    ShareDifference,
    ShareInterval,
    of_change,
    of_difference,
    of_rounds,
    of_value,
    pooled,
)
from trtbench.compare.request_values import StageRequests

Call = Literal["better", "worse", "different", "small", "not_shown", "disturbed", "no_interval", "absent"]
"""`different`: the metric has no better direction. `small`: a difference below the practical threshold. `not_shown`: the interval contains
no difference. `disturbed`: a difference is shown, and other processes may have caused it. `no_interval`: only values are known. `absent`: a
run lacks the metric.
"""


@dataclass(frozen=True, slots=True)
class MeasuredStage:
    """A stage of one run. `requests` is None if the run has no records of them, as an imported one. `disturbed`: by other processes."""

    result: StageResult
    requests: StageRequests | None
    disturbed: bool = False


@dataclass(frozen=True, slots=True)
class MeasuredPair:
    """A stage of both runs, in one round."""

    base: MeasuredStage
    candidate: MeasuredStage


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of a pair of stages; times are in ns. `change` is candidate / base - 1, `amount` candidate - base in the metric's unit, and
    `own` the candidate's value; each is None without an interval. `lacking`: values that a percentile lacks in the run with fewer.
    `disturbed`: other processes used so much of the machine that a difference may be theirs.
    """

    candidate_run: str
    deployment: str
    stage: str
    metric: NamedFigure
    base: float | None
    candidate: float | None
    change: Interval | None = None
    amount: Interval | None = None
    own: Interval | None = None
    requests: int = 0
    rounds: int = 0
    lacking: int = 0
    disturbed: bool = False

    @property
    def change_ratio(self) -> float | None:
        return self.candidate / self.base - 1 if self.base and self.candidate is not None else None

    @property
    def relative(self) -> bool:
        """Whether it is stated as a share of the base: every metric but shares, which differ by points."""
        return self.metric.unit != "ratio"

    @property
    def interval(self) -> Interval | None:
        return self.change if self.relative else self.amount

    def call(self, threshold_ratio: float, family: int) -> Call:
        """What can be said, with a probability of at most 5 % that one of `family` such calls is wrong (Bonferroni)."""
        if self.base is None or self.candidate is None:
            return "absent"
        if self.interval is None:
            return "no_interval"
        low, high = self.interval.bounds(SIDE / family)
        least = threshold_ratio if self.relative else 0.0
        if low > 0 or high < 0:
            if abs(self.interval.value) < least:
                return "small"
            return "disturbed" if self.disturbed else self._direction(self.interval.value > 0)
        return "small" if -least <= low and high <= least and least > 0 else "not_shown"

    def _direction(self, rose: bool) -> Call:
        better = better_direction(self.metric)
        return "different" if not better else "better" if rose == (better == "higher") else "worse"


def difference(where: tuple[str, str, str], metric: NamedFigure, pairs: Sequence[MeasuredPair], seeds: tuple[str, str]) -> Difference:
    """The difference of one metric of a stage. `where`: candidate run, deployment and stage. `pairs`: one for each round; with several,
    the interval is across them, else across requests. `seeds` name the draws of each run.
    """
    values = [(metric.value(pair.base.result), metric.value(pair.candidate.result)) for pair in pairs]
    known = [(base, candidate) for base, candidate in values if base is not None and candidate is not None]
    whole = len(known) == len(pairs)
    requests = sum(pair.candidate.result.conservation.planned for pair in pairs)
    plain = Difference(
        *where,
        metric,
        _mean([base for base, _ in values]),
        _mean([candidate for _, candidate in values]),
        requests=requests,
        rounds=len(pairs) if len(pairs) > 1 else 0,
        lacking=max(_lacking(pair, metric) for pair in pairs),
        disturbed=any(pair.base.disturbed or pair.candidate.disturbed for pair in pairs),
    )
    if not whole:
        return plain
    shares = [_shares(pair, metric, *value) for pair, value in zip(pairs, known, strict=True)]
    if all(shares):
        base, candidate = (pooled([one[side] for one in shares if one]) for side in (0, 1))
        return replace(plain, amount=ShareDifference(base, candidate), own=candidate)
    if len(pairs) > 1:
        return _across_rounds(plain, known)
    return _across_requests(plain, pairs[0], known[0], seeds)


def _across_rounds(plain: Difference, values: Sequence[tuple[float, float]]) -> Difference:
    changes = [candidate / base - 1 for base, candidate in values if base > 0]
    change = of_rounds(changes) if len(changes) == len(values) else None
    amounts, own = of_rounds([candidate - base for base, candidate in values]), of_rounds([candidate for _, candidate in values])
    return replace(plain, change=change, amount=amounts, own=own)


def _across_requests(plain: Difference, pair: MeasuredPair, values: tuple[float, float], seeds: tuple[str, str]) -> Difference:
    if pair.base.requests is None or pair.candidate.requests is None:
        return plain
    base = pair.base.requests.bootstrap(plain.metric, values[0], seeds[0])
    candidate = pair.candidate.requests.bootstrap(plain.metric, values[1], seeds[1])
    if base is None or candidate is None:
        return plain
    return replace(plain, change=of_change(base, candidate), amount=of_difference(base, candidate), own=of_value(candidate))


def _shares(pair: MeasuredPair, metric: NamedFigure, base: float, candidate: float) -> tuple[ShareInterval, ShareInterval] | None:
    if pair.base.requests is None or pair.candidate.requests is None:
        return None
    found = pair.base.requests.share(metric, base), pair.candidate.requests.share(metric, candidate)
    return (found[0], found[1]) if found[0] and found[1] else None


def _lacking(pair: MeasuredPair, metric: NamedFigure) -> int:
    return max((one.requests.lacking(metric) for one in (pair.base, pair.candidate) if one.requests), default=0)


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean over the rounds, or None if one of them lacks the figure."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
