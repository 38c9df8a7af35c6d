"""The analysis of the KV cache: the capacity of its budget, blocks that cancelled requests leave in it, and the gain of reuse."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.experiment_analysis import DeploymentRecords, ExperimentAnalysis, MeasuredRun
from trtbench.analysis.found import Found
from trtbench.analysis.stage.stage_result import by_stage
from trtbench.analysis.verdict.finding import Finding
from trtbench.experiments.kv_cache.cancel_control import CANCEL_CONTROLS, cancel_controls
from trtbench.experiments.kv_cache.cancellation import CANCELLATIONS, cancellations
from trtbench.experiments.kv_cache.prefix_reuse import PREFIX_REUSE, prefix_reuse
from trtbench.experiments.kv_cache.pressure import KV_CAPACITY, KV_PRESSURES, kv_capacity, kv_pressures
from trtbench.scenario.scenario import Scenario


def _of_deployment(records: DeploymentRecords) -> Found:
    pressures = kv_pressures(records)
    found = Found().put(KV_PRESSURES, pressures).put(KV_CAPACITY, kv_capacity(pressures)).put(CANCELLATIONS, cancellations(records))
    controls = cancel_controls(records.stages, by_stage(records.requests), records.scenario, records.facts, records.cpu_count)
    return found.put(CANCEL_CONTROLS, controls)


def _of_run(run: MeasuredRun) -> Found:
    return Found().put(PREFIX_REUSE, prefix_reuse(run.results, run.scenario))


def cancel_findings(result: DeploymentResult, _: Scenario) -> Iterator[Finding]:
    """The finding on the first stage whose cancelled requests left blocks in use."""
    kept = next((audit for audit in result.found[CANCELLATIONS] if audit.keeps_blocks), None)
    if kept:
        figures = {"blocks": kept.blocks_beyond or 0, "cancelled": kept.cancelled}
        yield Finding("cancel_blocks_kept", "warning", result.name, kept.stage, figures=figures)


ANALYSIS = ExperimentAnalysis(of_deployment=_of_deployment, of_run=_of_run, deployment_findings=cancel_findings)
