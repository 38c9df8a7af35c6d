"""What an experiment adds to the report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.experiments.registry import Role, roles
from trtbench.report.kit.blocks import Block, Section
from trtbench.report.kit.words import Words


def _nothing(*_: Any) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class ExperimentReport(Role):
    """The object `REPORT` in `report.py` of an experiment. An experiment gives those of these functions for which it has an answer; a
    summary without that experiment gives nothing.

    - `sections`, in the place `after` a section of the core: the third argument names the figures that there are.
    - `kv_blocks`: what it adds to the section on the KV cache.
    - `leads`: sentences at the beginning of the conclusion.
    - `answer`: sentences that replace the core table on the console, and for the bottlenecks in the conclusion.
    - `parameters`: rows (name, value) of the test parameters.
    - `replaces_load`: whether it sent its own requests to a deployment, which therefore has no stage of load.
    - `preferred`: (precision, deployment or grid cell) of those that are drawn first where there are too many to draw.
    """

    MODULE: ClassVar[str] = "report"

    sections: Callable[[Summary, Words, tuple[str, ...]], Sequence[Section]] = _nothing
    after: Literal["findings", "metrics"] = "findings"
    kv_blocks: Callable[[Summary, Words], Sequence[Block]] = _nothing
    leads: Callable[[Summary, Words], Sequence[str]] = _nothing
    answer: Callable[[Summary, Words], Sequence[str]] = _nothing
    parameters: Callable[[Summary, Words], Sequence[tuple[str, str]]] = _nothing
    replaces_load: Callable[[DeploymentResult], bool] = lambda _: False
    preferred: Callable[[Summary], Collection[tuple[str | None, str]]] = _nothing


def answers(summary: Summary, words: Words) -> Iterator[str]:
    """The results of experiments that are one sentence each."""
    for role in roles(ExperimentReport):
        yield from role.answer(summary, words)
