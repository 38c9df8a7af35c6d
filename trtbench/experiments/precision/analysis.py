"""The analysis of two precisions of one deployment. Its findings state whether the smaller one is faster and whether its answers agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

from trtbench.analysis.experiment_analysis import DeploymentRecords, ExperimentAnalysis, MeasuredRun
from trtbench.analysis.found import Found
from trtbench.analysis.verdict.finding import Finding, Severity
from trtbench.analysis.verdict.verdict import Reason
from trtbench.experiments.precision.comparison import COMPARISONS, EMBEDDINGS, OUTPUTS, Comparison, compare, embeddings, outputs

CLEAR_RATIO = 1.05
"""The largest deviation of a throughput ratio from 1 that two runs of one engine can show."""
_EARLY_PREFIX_RATIO = 0.5
_LEAST_PROMPTS = 20
_SOUND_COSINE = 0.99
"""The least mean cosine. Weight-only INT8 of the demo keeps 0.999; below this value the order of near neighbours changes."""


def precision_findings(pair: Comparison) -> Iterator[Finding]:
    """Findings on speed, from valid closed-loop stages of the same plan, and on agreement, from at least 20 common prompts."""
    sound = [stage for stage in pair.stages if stage.sound]
    tokens = [stage.output_token_throughput for stage in sound if stage.output_token_throughput]
    speeds = tokens or [stage.request_throughput for stage in sound if stage.request_throughput]
    names: dict[str, float | str] = {"base": pair.base_dtype.upper(), "other": pair.other_dtype.upper()}
    if speeds:
        typical = median(speeds)
        code = "precision_faster" if typical >= CLEAR_RATIO else "precision_slower" if typical <= 1 / CLEAR_RATIO else "precision_same"
        figures = names | {
            "unit": "tokens" if tokens else "requests",
            "speed_factor": typical,
            "least_factor": min(speeds),
            "most_factor": max(speeds),
            "stages": len(speeds),
            "size_factor": pair.engine_size_ratio if pair.engine_size_ratio is not None else "-",
        }
        places = tuple((name, stage.stage) for stage in sound for name in (pair.base, pair.other))
        yield Finding(code, "warning" if code == "precision_slower" else "info", pair.other, figures=figures, rests_on=places)
    said = pair.agreement
    if said is not None and said.prompts >= _LEAST_PROMPTS:
        early = said.mean_prefix_ratio < _EARLY_PREFIX_RATIO
        figures = names | {
            "prompts": said.prompts,
            "identical_ratio": said.identical_ratio,
            "prefix_ratio": said.mean_prefix_ratio,
            "first_token_ratio": said.first_token_ratio,
        }
        severity: Severity = "warning" if early else "info"
        yield Finding("agreement_low" if early else "agreement", severity, pair.other, figures=figures)
    yield from _embeddings(pair, names)


def _embeddings(pair: Comparison, names: Mapping[str, float | str]) -> Iterator[Finding]:
    found = pair.embeddings
    if found is None or found.prompts < _LEAST_PROMPTS:
        return
    cosines = {"mean_cosine": f"{found.mean_cosine:.4f}", "least_cosine": f"{found.least_cosine:.4f}"}
    figures = {**names, "prompts": found.prompts, **cosines}
    if found.mean_cosine < _SOUND_COSINE:
        yield Finding("embeddings_differ", "warning", pair.other, figures=figures)
    else:
        yield Finding("embeddings_agree", "info", pair.other, figures=figures)


def _of_deployment(records: DeploymentRecords) -> Found:
    """The answers of a deployment; empty in a run with one engine, which has no other engine to compare with."""
    alone = len(records.scenario.engines) < 2
    found = Found().put(OUTPUTS, {} if alone else outputs(records.requests))
    return found.put(EMBEDDINGS, {} if alone else embeddings(records.requests))


def _of_run(run: MeasuredRun) -> Found:
    return Found().put(COMPARISONS, compare(run))


def _run_reasons(_: MeasuredRun, found: Found) -> Iterator[Reason]:
    for pair in found[COMPARISONS]:
        if not pair.same_plan:
            yield Reason("plan_differs", "suspect", figures={"base": pair.base, "other": pair.other})


def _run_findings(found: Found) -> Iterator[Finding]:
    for pair in found[COMPARISONS]:
        yield from precision_findings(pair)


ANALYSIS = ExperimentAnalysis(of_deployment=_of_deployment, of_run=_of_run, run_reasons=_run_reasons, run_findings=_run_findings)
