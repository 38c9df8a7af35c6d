"""The layout of a report with many deployments: one table for all, details folded, repeated texts once, and figures of the most important
ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.measured_rounds import MeasuredInRounds, measured_in_rounds
from trtbench.analysis.metrics import KEY_FIGURES
from trtbench.analysis.summary import Summary
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.verdict import Reason
from trtbench.experiments.registry import roles
from trtbench.report.kit.experiment_report import ExperimentReport

FEW = 6
_PLACES = 2
T = TypeVar("T", Finding, Reason)


def is_many(summary: Summary) -> bool:
    return len(summary.deployments) > FEW or _shown_as_one(summary)


def in_rounds(summary: Summary) -> tuple[MeasuredInRounds, ...]:
    """The deployments of a repeated load, each of which the tables show once, over its rounds; () for any other run."""
    return measured_in_rounds(summary.deployments, summary.scenario) if _shown_as_one(summary) else ()


def _shown_as_one(summary: Summary) -> bool:
    return summary.scenario.rounds is not None and summary.scenario.rounds.shown_as_one


def shown(summary: Summary) -> tuple[DeploymentResult, ...]:
    """The deployments whose figures are drawn: all of them, or of many the first run of each cell, best cells first, up to a
    distinguishable number.
    """
    if not is_many(summary):
        return summary.deployments
    rounds = summary.scenario.rounds
    cells: dict[tuple[str | None, str], DeploymentResult] = {}
    for result in summary.deployments:
        name = result.facts.deployment
        cells.setdefault((result.facts.dtype, rounds.cell_of(name) if rounds else name), result)
    first = {place for role in roles(ExperimentReport) for place in role.preferred(summary)}
    return tuple(cells[key] for key in sorted(cells, key=lambda key: key not in first)[:FEW])


def key_figures(summary: Summary) -> list[str]:
    """The columns of the core table. That of failures as infinite latencies is left out if no request failed."""
    failed = any(stage.latency.has_failures for result in summary.deployments for stage in result.stages)
    return [name for name in KEY_FIGURES if failed or name != "p99_all"]


def alike(reasons: Sequence[Reason], many: bool) -> list[tuple[Reason, ...]]:
    """Reasons grouped as in `groups_of`. In a run of few deployments, only reasons that occur in more than two places are grouped."""
    groups = groups_of(reasons, many=True)
    if many:
        return groups
    return [part for group in groups for part in ([group] if _in_many_places(group) else [(one,) for one in group])]


def _in_many_places(group: Sequence[Reason]) -> bool:
    return len({(one.deployment, one.stage) for one in group}) == len(group) > _PLACES


def groups_of(found: Iterable[T], many: bool) -> list[tuple[T, ...]]:
    """Each reason alone, or in a run of many deployments the reasons of one code together, in order of appearance, the worst of a code
    first.
    """
    groups: dict[object, list[T]] = {}
    for number, one in enumerate(found):
        groups.setdefault(one.code if many else number, []).append(one)
    return [tuple(group) for group in groups.values()]
