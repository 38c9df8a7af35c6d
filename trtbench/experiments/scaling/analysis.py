"""The analysis of scaling: findings on a curve, and on servers with unequal shares of the requests."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.experiment_analysis import ExperimentAnalysis, MeasuredRun
from trtbench.analysis.found import Found
from trtbench.analysis.stage.resources import imbalance
from trtbench.analysis.verdict.finding import Finding
from trtbench.experiments.scaling.limiter import UNEVEN_FACTOR
from trtbench.experiments.scaling.scaling_curve import SCALINGS, ScalingCurve, scaling_curves
from trtbench.scenario.scenario import Scenario

_LEAST_REQUESTS_EACH = 20  # fewer are uneven by chance alone, or by how they fall on the borders of a stage


def scaling_findings(curve: ScalingCurve) -> Iterator[Finding]:
    """A finding for each curve that bends, with the first resource that explains it."""
    bend = curve.bend
    if bend is None or bend.efficiency is None:
        return
    use = bend.usage
    figures: dict[str, float | str] = {
        "axis": curve.axis,
        "units": bend.units,
        "from_units": curve.points[0].units,
        "efficiency_ratio": bend.efficiency.mean,
        "bound_ratio": curve.bound_ratio,
        "server_cores": _known(use.server_cpu_cores),
        "client_cores": _known(use.client_cpu_cores),
        "balancer_cores": _known(use.balancer_cpu_cores),
        "machine_cpu_ratio": _known(use.machine_cpu_ratio),
        "gpu_ratio": _known(use.gpu_ratio),
        "kv_peak_ratio": _known(use.kv_peak_ratio),
        "uneven_factor": _known(use.imbalance_factor),
        "running": _known(use.running_per_engine),
        "running_before": _known(curve.points[0].usage.running_per_engine),
    }
    where = f"{bend.name}-{curve.dtype}", curve.stage
    yield Finding(f"scaling_{curve.limiters[0]}", "warning", *where, limits=True, figures=figures, rests_on=curve.rests_on)


def replica_findings(result: DeploymentResult, _: Scenario) -> Iterator[Finding]:
    """The finding on the stage in which one of several servers had the largest excess over its share."""
    shares = [(factor, stage) for stage in result.stages if (factor := imbalance(stage.resources.replicas)) is not None]
    enough = [(factor, stage) for factor, stage in shares if stage.conservation.completed >= _LEAST_REQUESTS_EACH * result.facts.servers]
    if not enough:
        return
    factor, stage = max(enough, key=lambda pair: pair[0])
    if factor > UNEVEN_FACTOR:
        counts = ", ".join("-" if replica.requests is None else str(replica.requests) for replica in stage.resources.replicas)
        figures: dict[str, float | str] = {"uneven_factor": factor, "requests": counts, "balancer": result.facts.balancer or "-"}
        yield Finding("replicas_uneven", "warning", result.name, stage.span.name, figures=figures)


def _known(value: float | None) -> float | str:
    return "-" if value is None else value


def _of_run(run: MeasuredRun) -> Found:
    return Found().put(SCALINGS, scaling_curves(run.results, run.scenario, run.cpu_count))


def _run_findings(found: Found) -> Iterator[Finding]:
    for curve in found[SCALINGS]:
        yield from scaling_findings(curve)


ANALYSIS = ExperimentAnalysis(of_run=_of_run, deployment_findings=replica_findings, run_findings=_run_findings)
