"""What a rule sees and gives: a rule is a pure function of one deployment's figures. Its docstring is its condition in docs/findings.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import wraps

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.verdict.finding import Finding
from trtbench.scenario.scenario import Scenario

LEAST_EXECUTIONS = 20
"""The number of executions from which a ratio of them is used."""


@dataclass(frozen=True, slots=True)
class Case:
    """One deployment with what was asked of it. `cpu_count`: the cores of the machine."""

    result: DeploymentResult
    scenario: Scenario
    cpu_count: int


Find = Callable[[Case], Iterator[Finding]]
FindInStage = Callable[[Case, StageResult], Finding | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with the codes of the findings that it may yield. A code that ends in `_` begins those of several classes."""

    codes: tuple[str, ...]
    find: Find


def first_stage(find: FindInStage) -> Find:
    """A rule that yields the finding of the first stage in which `find` sees one."""

    @wraps(find)
    def find_first(case: Case) -> Iterator[Finding]:
        for stage in case.result.stages:
            if found := find(case, stage):
                yield replace(found, deployment=case.result.name, stage=stage.span.name)
                return

    return find_first
