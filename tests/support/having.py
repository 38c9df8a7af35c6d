"""Results of experiments put in the place of those that a run has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.experiment_analysis import MeasuredRun
from trtbench.analysis.found import Found, Key
from trtbench.analysis.summary import Summary

R = TypeVar("R", DeploymentResult, Summary)


def having(result: R, values: Mapping[Key[Any], Any]) -> R:
    """A copy with these results in its `found`."""
    return replace(result, found=result.found | Found(values))


def measured(summary: Summary, results: Sequence[DeploymentResult], interrupted: bool = False) -> MeasuredRun:
    """As experiments are given a run; without its events."""
    return MeasuredRun(results, summary.scenario, (), 2, interrupted)
