"""The analysis of repeats: each figure of each stage over the rounds, and rounds that were left out or that did not suffice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trtbench.analysis.experiment_analysis import ExperimentAnalysis, MeasuredRun
from trtbench.analysis.found import Found, Key
from trtbench.analysis.measured_rounds import MeasuredInRounds, measured_in_rounds
from trtbench.analysis.named_figures import named_figures
from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.verdict.verdict import Place, Reason
from trtbench.rundir.events import every
from trtbench.rundir.experiment_events import RoundsDecided, StageWidth


@dataclass(frozen=True, slots=True)
class RepeatedStage:
    """`figures`: by their names (analysis/named_figures.py), those that every round has."""

    stage: str
    figures: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class RepeatedDeployment:
    """A deployment on one engine over its whole rounds. `rounds` and `left_out`: names of directories."""

    deployment: str
    dtype: str | None
    rounds: tuple[str, ...]
    left_out: tuple[str, ...]
    stages: tuple[RepeatedStage, ...]


@dataclass(frozen=True, slots=True)
class RoundsSummary:
    """What the rounds of a repeated load give. `widest`: the stage whose figure of `until` is known least well, after the last decision;
    None without `until`, and before the first decision.
    """

    deployments: tuple[RepeatedDeployment, ...]
    widest: StageWidth | None = None
    stopped: bool | None = None  # by until, before the last round


REPEATS: Key[RoundsSummary | None] = Key("repeats")


def repeats(run: MeasuredRun) -> RoundsSummary | None:
    """None for a run whose load was not repeated."""
    if run.scenario.repeats is None:
        return None
    deployments = tuple(map(_over_rounds, measured_in_rounds(run.results, run.scenario)))
    decided = every(run.events, RoundsDecided)
    last = decided[-1] if decided else None
    widest = max(last.widths, key=lambda one: float("inf") if one.relative_width is None else one.relative_width) if last else None
    return RoundsSummary(deployments, widest, last.stopped if last else None)


def _over_rounds(measured: MeasuredInRounds) -> RepeatedDeployment:
    names = tuple(result.name for result in measured.rounds.values())
    return RepeatedDeployment(measured.cell, measured.dtype, names, measured.left_out, tuple(_stages(measured)))


def _stages(measured: MeasuredInRounds) -> Iterator[RepeatedStage]:
    for stage in measured.stages:
        found = {name: measured.estimate(stage, figure) for name, figure in named_figures().items()}
        yield RepeatedStage(stage, {name: value for name, value in found.items() if value})


def repeat_reasons(run: MeasuredRun, found: Found) -> Iterator[Reason]:
    """Rounds that were left out, deployments with a single round, and a figure of `until` that stayed too uncertain."""
    asked, summary = run.scenario.repeats, found[REPEATS]
    if asked is None or summary is None:
        return
    for one in summary.deployments:
        name = f"{one.deployment}-{one.dtype}" if one.dtype else one.deployment
        if one.left_out and not run.interrupted:
            yield Reason("rounds_left_out", "suspect", name, figures={"count": len(one.left_out), "rounds": ", ".join(one.left_out)})
        if len(one.rounds) == 1:
            yield Reason("one_round", "suspect", name)
    if asked.until and summary.stopped is False and not run.interrupted:
        yield _too_wide(asked.until.metric, asked.until.relative_width, asked.most, summary.widest)


def _too_wide(metric: str, bound: float, most: int, widest: StageWidth | None) -> Reason:
    width = widest.relative_width if widest else None
    figures: dict[str, float | str] = {"metric": metric, "bound_ratio": bound, "most": most, "width_ratio": "-" if width is None else width}
    return Reason("rounds_too_wide", "note", widest.deployment if widest else "", widest.stage if widest else "", figures)


def relative_width(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """(Mean, width of the 95 % interval as a share of the mean), each None if it is unknown: a round lacks the figure, there is a single
    round, or the mean is 0.
    """
    found = Estimate.over(values, lambda value: value)
    if found is None:
        return None, None
    if found.half_width is None or not found.mean:
        return found.mean, None
    return found.mean, 2 * found.half_width / abs(found.mean)


def widths(values: Mapping[Place, Sequence[float | None]], rounds: int) -> list[StageWidth]:
    """The width at each place. A place with fewer values than `rounds` has none, because a round of it is not whole."""
    found = []
    for (deployment, stage), of_place in values.items():
        mean, width = relative_width(of_place if len(of_place) >= rounds else [None])
        found.append(StageWidth(deployment=deployment, stage=stage, mean=mean, relative_width=width))
    return found


def _of_run(run: MeasuredRun) -> Found:
    return Found().put(REPEATS, repeats(run))


ANALYSIS = ExperimentAnalysis(of_run=_of_run, run_reasons=repeat_reasons)
