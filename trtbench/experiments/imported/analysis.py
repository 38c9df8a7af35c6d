"""Results of another tool in a run directory: shown as they are and doubted, because trtbench did not measure them."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.experiment_analysis import ExperimentAnalysis, MeasuredRun
from trtbench.analysis.found import Found, Key
from trtbench.analysis.verdict.verdict import Reason
from trtbench.rundir.events import first
from trtbench.rundir.experiment_events import ResultsImported

IMPORTED: Key[ResultsImported | None] = Key("imported")
MODE = "imported"
"""`mode` of deployment.json, where trtbench has sent no request to a server."""


def _of_run(run: MeasuredRun) -> Found:
    return Found().put(IMPORTED, first(run.events, ResultsImported))


def _run_reasons(_: MeasuredRun, found: Found) -> Iterator[Reason]:
    if imported := found[IMPORTED]:
        yield Reason("imported", "suspect", figures={"tool": imported.tool, "file": imported.file})


def _has_answer(result: DeploymentResult) -> bool:
    return result.facts.mode == MODE


ANALYSIS = ExperimentAnalysis(of_run=_of_run, run_reasons=_run_reasons, has_answer=_has_answer)
