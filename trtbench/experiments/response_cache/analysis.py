"""The analysis of response caches. Findings: a cache that slows requests, has nothing to answer, evicts entries, or was not empty."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.experiment_analysis import DeploymentRecords, ExperimentAnalysis, MeasuredRun
from trtbench.analysis.found import Found
from trtbench.analysis.verdict.finding import Finding
from trtbench.experiments.response_cache.cached_stage import CACHED_STAGES, cached_stages
from trtbench.experiments.response_cache.gain import CACHE_GAINS, CacheGain, cache_gains
from trtbench.scenario.scenario import Scenario

_LEAST_ANSWERED = 100
_RARE_RATIO = 0.05
_LOST_RATIO = 0.01
"""The share of requests that a larger cache would have answered, above which its evictions matter."""


def cache_findings(result: DeploymentResult, _: Scenario) -> Iterator[Finding]:
    """The findings of one deployment with a cache. Each rule gives at most one finding, about its worst stage."""
    stages = result.found[CACHED_STAGES]
    hits, answered, misses = (sum(getattr(stage, name) for stage in stages) for name in ("hits", "answered", "misses"))
    if answered >= _LEAST_ANSWERED and hits < _RARE_RATIO * answered and misses:
        spent_ns = sum(stage.misses * (stage.miss_mean_ns or 0) for stage in stages)
        figures = {"hit_ratio": hits / answered, "answered": answered, "miss_ns": spent_ns / misses}
        yield Finding("cache_rarely_hits", "info", result.name, figures=figures)
    lossy = [stage for stage in stages if stage.evictions and stage.servable - stage.hits > _LOST_RATIO * stage.sent]
    if lossy:
        worst = max(lossy, key=lambda stage: (stage.servable - stage.hits) / stage.sent)
        lost = {"lost": worst.servable - worst.hits, "lost_ratio": (worst.servable - worst.hits) / worst.sent}
        yield Finding("cache_evicts", "warning", result.name, worst.stage, figures=lost | {"evictions": worst.evictions or 0})
    warm = next((stage for stage in stages if stage.hits > stage.repeats), None)
    if warm:
        yield Finding("cache_was_warm", "warning", result.name, warm.stage, figures={"hits": warm.hits, "repeats": warm.repeats})


def gain_findings(pair: CacheGain) -> Iterator[Finding]:
    """Findings for stages that the cache slows by more than repeats differ."""
    losses = [stage for stage in pair.stages if stage.clear and stage.gain.mean < 1 and stage.closed]
    if losses:
        worst = min(losses, key=lambda stage: stage.gain.mean)
        figures: dict[str, float | str] = {"gain_ratio": worst.gain.mean - 1, "off": pair.off}
        figures |= {"hit_ratio": "-" if worst.hit_ratio is None else worst.hit_ratio}
        yield Finding("cache_costs", "warning", f"{pair.on}-{pair.dtype}", worst.stage, figures=figures, rests_on=worst.rests_on)


def _of_deployment(records: DeploymentRecords) -> Found:
    return Found().put(CACHED_STAGES, cached_stages(records))


def _of_run(run: MeasuredRun) -> Found:
    return Found().put(CACHE_GAINS, cache_gains(run.results, run.scenario))


def _run_findings(found: Found) -> Iterator[Finding]:
    for pair in found[CACHE_GAINS]:
        yield from gain_findings(pair)


ANALYSIS = ExperimentAnalysis(of_deployment=_of_deployment, of_run=_of_run, deployment_findings=cache_findings, run_findings=_run_findings)
