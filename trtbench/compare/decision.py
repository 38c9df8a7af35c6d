"""What a gate decides: failed where the regression is shown, passed where its absence is shown, else undecided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trtbench.compare.difference import Difference
from trtbench.compare.gate import Gate
from trtbench.compare.interval import factor_to_decide

Outcome = Literal["passed", "failed", "undecided"]
FALSE_ALARM = 0.05
"""The largest probability that a command fails a gate or passes one wrongly, all its gates together."""
_MOST_REQUESTS = 10**9


@dataclass(frozen=True, slots=True)
class Decision:
    """A gate on one pair of stages; `difference` is None if no stage has the metric. `bounds`: of the interval, at the level of the whole
    command. `more_requests` and `more_rounds` would decide, by an estimate; 0 if that is unknown. `why`: key of the reason.
    """

    gate: Gate
    difference: Difference | None
    outcome: Outcome
    value: float | None = None
    bounds: tuple[float, float] | None = None
    more_requests: int = 0
    more_rounds: int = 0
    why: Literal["", "no_stage", "absent", "lacking", "no_interval", "disturbed", "wide"] = ""


def decide(gates: Sequence[Gate], differences: Sequence[Difference], force: bool = False) -> list[Decision]:
    """Each gate on each pair of stages that it concerns. The probability of a wrong decision is shared equally by all (Bonferroni).
    `force`: stages that other processes disturbed are decided nevertheless.
    """
    found = [(gate, one) for gate in gates for one in differences if gate.concerns(one)]
    side = FALSE_ALARM / max(len(found), 1)
    decisions = [_decide(gate, replace(one, disturbed=one.disturbed and not force), side) for gate, one in found]
    concerned = {id(gate) for gate, _ in found}
    return decisions + [Decision(gate, None, "undecided", why="no_stage") for gate in gates if id(gate) not in concerned]


def _decide(gate: Gate, one: Difference, side: float) -> Decision:
    value, interval = gate.value(one), gate.interval(one)
    if value is None:
        return Decision(gate, one, "undecided", more_requests=one.lacking, why="lacking" if one.lacking else "absent")
    if interval is None:
        return Decision(gate, one, "undecided", value, why="no_interval")
    low, high = interval.bounds(side)
    bounds = (low, high)
    if one.disturbed:
        return Decision(gate, one, "undecided", value, bounds, why="disturbed")
    if low > gate.limit or high < gate.limit or high == low:
        beyond = value > gate.limit if gate.above else value < gate.limit
        return Decision(gate, one, "failed" if beyond else "passed", value, bounds)
    factor = factor_to_decide(interval, gate.limit, side)
    if factor is None:
        return Decision(gate, one, "undecided", value, bounds, why="wide")
    requests = min(_MOST_REQUESTS, math.ceil(one.requests * (factor - 1)))
    rounds = math.ceil(one.rounds * (factor - 1)) if one.rounds else 0
    return Decision(gate, one, "undecided", value, bounds, requests, rounds, "wide")


def outcome_of(decisions: Sequence[Decision]) -> Outcome:
    """The outcome of the whole command: a failure counts most, then what is undecided."""
    outcomes = {one.outcome for one in decisions}
    return "failed" if "failed" in outcomes else "undecided" if "undecided" in outcomes else "passed"
