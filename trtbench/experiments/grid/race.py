"""A race of grid cells. After each round, the cells that can no longer win are dropped, so that fewer runs find the winner.

The decision is a pure function of the measured figures. A cell is dropped if the differences to the leader, by round, have a 95 %
interval (Student's t) above zero, or if it can no longer keep the SLO whatever the remaining rounds give. A round is a shuffled pass
over the cells, so a drift over time is in both sides of a difference and cancels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import fmean
from typing import Literal

from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.throughput import main_rate
from trtbench.analysis.stats.estimate import Estimate
from trtbench.rundir.experiment_events import CellDropped, Difference
from trtbench.scenario.scenario import Scenario

LEAST_ROUNDS = 2
"""The rounds before a cell may be dropped, because one difference has no interval."""
SLO_KEPT_RATIO = 0.99
"""The share of planned requests within every SLO, over all repeats, from which on a cell keeps the SLO."""

Why = Literal["below", "slo", "no_figure"]


@dataclass(frozen=True, slots=True)
class Score:
    """One cell in one round: goodput, or output tokens per second without an SLO; higher is better. None if the rates are not supported."""

    figure: float | None
    within_slo_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """The reason why a cell was dropped `after_round`. For `below`, `difference` is leader - cell over the rounds. For `slo`,
    `within_slo_ratio` is the ratio so far.
    """

    cell: str
    after_round: int
    why: Why
    leader: str | None = None
    difference: Estimate | None = None
    within_slo_ratio: float | None = None

    @classmethod
    def of(cls, row: CellDropped) -> Drop:
        difference = Estimate(row.difference.mean, row.difference.half_width, row.difference.count) if row.difference else None
        return cls(row.cell, row.after_round, row.why, row.leader, difference, row.within_slo_ratio)

    @property
    def recorded(self) -> CellDropped:
        difference = Difference(**asdict(self.difference)) if self.difference else None
        return CellDropped(**{one.name: getattr(self, one.name) for one in fields(self)} | {"difference": difference})


def race(scores: Mapping[str, Sequence[Score]], repeats: int) -> tuple[Drop, ...]:
    """The dropped cells, in the order of dropping, from `scores` by cell, one for each round. A dropped cell stays dropped.

    The `scores` of a cell end when it was no longer run. `repeats` is the highest number of rounds.
    """
    drops: dict[str, Drop] = {}
    for round_ in range(LEAST_ROUNDS, max(map(len, scores.values()), default=0) + 1):
        alive = {cell: every[:round_] for cell, every in scores.items() if cell not in drops and len(every) >= round_}
        drops |= {drop.cell: drop for drop in _after(round_, alive, repeats)}
    return tuple(drops.values())


def _after(round_: int, alive: Mapping[str, Sequence[Score]], repeats: int) -> list[Drop]:
    drops = [drop for cell, scores in alive.items() if (drop := _ruled_out(cell, scores, round_, repeats))]
    out = {drop.cell for drop in drops}
    figures = {cell: [s.figure for s in scores if s.figure is not None] for cell, scores in alive.items() if cell not in out}
    leader = max((cell for cell in figures if _keeps_slo(alive[cell])), key=lambda cell: fmean(figures[cell]), default=None)
    if leader is None:
        return drops
    for cell, values in figures.items():
        difference = Estimate.of(best - value for best, value in zip(figures[leader], values, strict=True))
        if cell != leader and difference and difference.half_width is not None and difference.mean > difference.half_width:
            drops.append(Drop(cell, round_, "below", leader, difference))
    return drops


def _ruled_out(cell: str, scores: Sequence[Score], round_: int, repeats: int) -> Drop | None:
    """Reasons that need no comparison: a round without a figure, because a winner needs all rounds, and an SLO that even perfect rounds
    cannot reach.
    """
    if any(score.figure is None for score in scores):
        return Drop(cell, round_, "no_figure")
    kept = [score.within_slo_ratio for score in scores if score.within_slo_ratio is not None]
    if kept and sum(kept) + (repeats - round_) < SLO_KEPT_RATIO * repeats:
        return Drop(cell, round_, "slo", within_slo_ratio=fmean(kept))
    return None


def _keeps_slo(scores: Sequence[Score]) -> bool:
    kept = [score.within_slo_ratio for score in scores if score.within_slo_ratio is not None]
    return not kept or fmean(kept) >= SLO_KEPT_RATIO


def undecided(scores: Mapping[str, Sequence[Score]], drops: Sequence[Drop]) -> frozenset[str]:
    """The cells that need another round: none if a single one is left and keeps the SLO."""
    left = frozenset(scores) - {drop.cell for drop in drops}
    return left if len(left) > 1 or not all(_keeps_slo(scores[cell]) for cell in left) else frozenset()


def score(stage: StageResult | None, scenario: Scenario) -> Score:
    """Goodput if the scenario sets an SLO, otherwise `main_rate`; no figure if the stage's rates are not supported."""
    if stage is None or not stage.supports_rates:
        return Score(None)
    rates = stage.throughput
    if scenario.slo.model_dump(exclude_none=True):
        return Score(rates.goodput, rates.goodput_ratio)
    return Score(main_rate(rates))
