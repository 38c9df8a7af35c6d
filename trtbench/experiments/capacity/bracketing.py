"""The search for a capacity: which load is probed next, and what the verdicts so far say. Pure functions of the verdicts.

The load is doubled from the first one until a probe does not keep the SLO (or halved until one does), and the interval between is halved
on a logarithmic scale. The highest load that kept the SLO is then probed again. An undecided load is on neither side: the search goes
on to narrow what is between it and the decided ones. A load that broke the SLO once counts as broken, so a confirmation that fails moves
the search below it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trtbench.experiments.capacity.spec import Capacity

Verdict = Literal["holds", "breaks", "undecided", "unusable"]
"""Of a probe. unusable: the client or a fault of the measurement may be the reason, so nothing is known of the server at this load."""
Phase = Literal["bracket", "bisect", "confirm"]
Answer = Literal["between", "never_holds", "never_breaks", "not_shown", "client_bound"]
_DIGITS = 3
"""Significant digits of a request rate, so that a load has a readable name."""


@dataclass(frozen=True, slots=True)
class Range:
    """The loads of a search. `whole`: they are numbers of users. `resolution`: of two neighbours, as a share of the lower one."""

    start: float
    least: float
    most: float
    resolution: float
    whole: bool
    probes: int

    @classmethod
    def of(cls, asked: Capacity) -> Range:
        return cls(asked.start, asked.least_load, asked.most, asked.resolution, asked.by == "concurrency", asked.probes)


@dataclass(frozen=True, slots=True)
class Tried:
    """A probe that is over."""

    level: float
    verdict: Verdict
    phase: Phase


@dataclass(frozen=True, slots=True)
class Step:
    """The next probe."""

    level: float
    phase: Phase


@dataclass(frozen=True, slots=True)
class Bracket:
    """The loads on both sides of the capacity.

    `holds`: the highest load that keeps the SLO below every one that does not. `breaks`: the lowest that does not keep it, or cannot be
    measured. `undecided`: the loads between without a verdict. `confirmed`: whether a repeat at `holds` agreed. `refuted`: loads that kept
    the SLO once, which their repeat did not confirm.
    """

    holds: float | None
    breaks: float | None
    undecided: tuple[float, ...]
    confirmed: bool
    refuted: tuple[float, ...]

    @classmethod
    def of(cls, tried: Sequence[Tried]) -> Bracket:
        denied = {one.level for one in tried if one.phase == "confirm" and one.verdict != "holds"}
        held, broke = _levels(tried, "holds") - denied, _levels(tried, "breaks")
        breaks = min(broke | (_levels(tried, "unusable") - held), default=None)
        holds = max((level for level in held - broke if breaks is None or level < breaks), default=None)
        unknown = _levels(tried, "undecided") - held - broke
        between = sorted(level for level in unknown if (holds or 0) < level < (breaks or math.inf))
        confirmed = holds is not None and any(one.phase == "confirm" and one.level == holds for one in tried)
        return cls(holds, breaks, tuple(between), confirmed, tuple(sorted(denied)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known after some probes. `resolved`: the loads of the bracket are as close as requested, or there is nothing to narrow.

    `answer`: between two loads; the SLO never holds, even at the least load; it never breaks, up to the largest load tried; no load was
    shown to keep it; or the client is the limit, not the server.
    """

    answer: Answer
    bracket: Bracket
    resolved: bool


def next_step(asked: Range, tried: Sequence[Tried]) -> Step | None:
    """The next probe after those `tried`, or None if the search is over."""
    left = asked.probes - len(tried)
    if left <= 0:
        return None
    if not tried:
        return Step(asked.start, "bracket")
    bracket = Bracket.of(tried)
    repeat = Step(bracket.holds, "confirm") if bracket.holds is not None and not bracket.confirmed else None
    return repeat if repeat and left == 1 else _narrowing(asked, tried, bracket) or repeat


def outcome(asked: Range, tried: Sequence[Tried]) -> Outcome:
    """What the probes say, whether the search is over or not."""
    bracket = Bracket.of(tried)
    answer: Answer = "between"
    if bracket.holds is not None and bracket.breaks is not None and bracket.breaks not in _levels(tried, "breaks"):
        answer = "client_bound"
    elif bracket.holds is None:
        answer = "never_holds" if asked.least in _levels(tried, "breaks") else "not_shown"
    elif bracket.breaks is None:
        answer = "never_breaks"
    return Outcome(answer, bracket, bool(tried) and _narrowing(asked, tried, bracket) is None)


def most_probes_needed(asked: Range) -> int:
    """The probes that a search needs at most if every verdict is right and decided: doubling or halving, bisection, the repeat."""
    doublings = math.ceil(math.log2(max(asked.most / asked.start, asked.start / asked.least))) + 1
    halvings = math.ceil(math.log2(max(math.log(2) / math.log1p(asked.resolution), 1.0)))
    return doublings + halvings + 1


def _levels(tried: Sequence[Tried], verdict: Verdict) -> set[float]:
    return {one.level for one in tried if one.verdict == verdict}


def _narrowing(asked: Range, tried: Sequence[Tried], bracket: Bracket) -> Step | None:
    """The next load of the search without its confirmation, or None if the loads on both sides are close enough."""
    lowest, highest = min(one.level for one in tried), max(one.level for one in tried)
    if bracket.breaks is None:
        return Step(min(_rounded(asked, 2 * highest), asked.most), "bracket") if highest < asked.most else None
    if bracket.holds is None and lowest > asked.least:
        return Step(max(asked.least, _rounded(asked, lowest / 2)), "bracket")
    marks = [*([] if bracket.holds is None else [bracket.holds]), *bracket.undecided, bracket.breaks]
    ends = [(marks[0], marks[1]), (marks[-2], marks[-1])] if len(marks) > 1 else []
    halves = (middle for low, high in ends if (middle := _between(asked, low, high)) is not None)
    return next((Step(middle, "bisect") for middle in halves), None)


def _between(asked: Range, low: float, high: float) -> float | None:
    """The load halfway between two on a logarithmic scale; None if they are close enough, or if there is none between them."""
    if high <= low * (1 + asked.resolution):
        return None
    middle = _rounded(asked, math.sqrt(low * high))
    return middle if low < middle < high else None


def _rounded(asked: Range, level: float) -> float:
    """A load that can be requested."""
    return float(max(1, round(level))) if asked.whole else float(f"{level:.{_DIGITS}g}")
