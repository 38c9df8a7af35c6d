"""Repeats in the report: the row of the test parameters. The tables over the rounds are those of the core (round_tables.py)."""

from __future__ import annotations

from collections.abc import Sequence

from trtbench.analysis.summary import Summary
from trtbench.experiments.repeats.analysis import REPEATS
from trtbench.experiments.repeats.spec import Repeats
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.words import Words


def repeats_parameter(summary: Summary, words: Words) -> Sequence[tuple[str, str]]:
    """How many rounds were run, in which order, and what ended them."""
    asked, found = summary.scenario.repeats, summary.found[REPEATS]
    if asked is None or found is None:
        return ()
    most = max((len(one.rounds) for one in found.deployments), default=0)
    text = words("repeats.rounds", count=most, most=asked.most, order=words(f"repeats.{asked.order}"))
    return ((words("parameters.repeats"), text + _until(asked, found.stopped, words)),)


def _until(asked: Repeats, stopped: bool | None, words: Words) -> str:
    if asked.until is None:
        return ""
    figures: dict[str, float | str] = {"metric": asked.until.metric, "width_ratio": asked.until.relative_width}
    return words("repeats.stopped" if stopped else "repeats.not_stopped", **figures)


REPORT = ExperimentReport(parameters=repeats_parameter)
