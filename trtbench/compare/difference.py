"""One metric of one pair of stages: both values, their difference with its interval, and what can be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trtbench.analysis.stage.stage_result import StageResult
from trtbench.compare.compared_metric import ComparedMetric
from trtbench.compare.interval import SIDE, Interval, ShareDifference, of_change, of_difference, of_value
from trtbench.compare.request_values import StageRequests

Call = Literal["better", "worse", "different", "small", "not_shown", "no_interval", "absent"]
"""`different`: the metric has no better direction. `small`: a difference below the practical threshold. `not_shown`: the interval contains
no difference. `no_interval`: only values are known. `absent`: a run lacks the metric.
"""


@dataclass(frozen=True, slots=True)
class MeasuredStage:
    """A stage of one run. `requests` is None if the run has no records of them, as an imported one."""

    result: StageResult
    requests: StageRequests | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of a pair of stages; times are in ns. `change` is candidate / base - 1, `amount` candidate - base in the metric's unit, and
    `own` the candidate's value; each is None without an interval. `lacking`: values that a percentile lacks in the run with fewer.
    """

    candidate_run: str
    deployment: str
    stage: str
    metric: ComparedMetric
    base: float | None
    candidate: float | None
    change: Interval | None = None
    amount: Interval | None = None
    own: Interval | None = None
    requests: int = 0
    rounds: int = 0
    lacking: int = 0

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
            return self._direction(self.interval.value > 0)
        return "small" if -least <= low and high <= least and least > 0 else "not_shown"

    def _direction(self, rose: bool) -> Call:
        if not self.metric.better:
            return "different"
        return "better" if rose == (self.metric.better == "higher") else "worse"


def difference(
    where: tuple[str, str, str], metric: ComparedMetric, base: MeasuredStage, candidate: MeasuredStage, seeds: tuple[str, str]
) -> Difference:
    """The difference of one metric of two stages. `where`: candidate run, deployment and stage. `seeds` name the draws of each run."""
    values = metric.value(base.result), metric.value(candidate.result)
    requests = candidate.result.conservation.completed
    lacking = max((one.requests.lacking(metric) for one in (base, candidate) if one.requests), default=0)
    plain = Difference(*where, metric, *values, requests=requests, lacking=lacking)
    if values[0] is None or values[1] is None or base.requests is None or candidate.requests is None:
        return plain
    share, other_share = base.requests.share(metric, values[0]), candidate.requests.share(metric, values[1])
    if share and other_share:
        return Difference(*where, metric, *values, amount=ShareDifference(share, other_share), own=other_share, requests=requests)
    of_base, of_candidate = base.requests.bootstrap(metric, values[0], seeds[0]), candidate.requests.bootstrap(metric, values[1], seeds[1])
    if of_base is None or of_candidate is None:
        return plain
    change, amount = of_change(of_base, of_candidate), of_difference(of_base, of_candidate)
    return Difference(*where, metric, *values, change, amount, of_value(of_candidate), requests=requests)
