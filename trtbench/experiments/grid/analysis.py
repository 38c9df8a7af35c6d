"""The analysis of a batching grid."""

from __future__ import annotations

from dataclasses import replace

from trtbench.analysis.experiment_analysis import ExperimentAnalysis, MeasuredRun
from trtbench.analysis.found import Found
from trtbench.analysis.verdict.verdict import Doubts
from trtbench.experiments.grid.frontier import FRONTIERS, frontiers


def _of_run(run: MeasuredRun) -> Found:
    return Found().put(FRONTIERS, frontiers(run.results, run.scenario, run.events))


def _with_doubts(found: Found, doubts: Doubts) -> Found:
    return found.put(FRONTIERS, tuple(replace(one, doubts=doubts.about(one.rests_on)) for one in found[FRONTIERS]))


ANALYSIS = ExperimentAnalysis(of_run=_of_run, with_doubts=_with_doubts)
