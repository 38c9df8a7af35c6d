"""`slo.gate: true` of a scenario: whether enough requests of every stage kept the limits of `slo`."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.named_figures import named_figures
from trtbench.compare.compared_runs import ReadRun
from trtbench.compare.decision import Decision, decide
from trtbench.compare.difference import Difference
from trtbench.compare.gate import Gate

_METRIC = "goodput_ratio"


def slo_decisions(run: ReadRun) -> list[Decision]:
    """A decision for each stage of each deployment: failed where it is shown that fewer requests than `slo.good_ratio` kept every limit,
    undecided where the interval of the share contains that. Empty if the scenario has no gate.
    """
    slo = run.summary.scenario.slo
    if not slo.gate:
        return []
    gate = Gate(f"{_METRIC}<{100 * slo.good_ratio:g}%", named_figures()[_METRIC], above=False, limit=slo.good_ratio, kind="own")
    return decide([gate], list(_shares(run)))


def _shares(run: ReadRun) -> Iterator[Difference]:
    metric = named_figures()[_METRIC]
    for result in run.summary.deployments:
        requests = run.requests(result.name)
        for stage in result.stages:
            value, measured = metric.value(stage), run.measured(stage, requests).requests
            share = measured.share(metric, value) if measured and value is not None else None
            yield Difference(run.name, result.name, stage.span.name, metric, None, value, own=share, requests=stage.span.planned)
