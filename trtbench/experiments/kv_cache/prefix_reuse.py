"""The gain of prefix caching: a deployment with it compared with one without it, on the same plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.found import Key
from trtbench.experiments.kv_cache.pressure import KV_PRESSURES
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.workload import expected_hit_ratio

PREFIX_REUSE: Key[tuple[PrefixReuse, ...]] = Key("prefix_reuse")


@dataclass(frozen=True, slots=True)
class StageReuse:
    """TTFT medians of completed requests; `ttft_ratio` is on / off, below 1 if reuse helps.

    `hit_ratio` is the engine's, from its gauges or else from its counts of each request (`by_request`); None if it has neither.
    `designed_hit_ratio` is the mean that a cache of any size reaches by the design of the workload.
    """

    stage: str
    ttft_off_ns: float | None
    ttft_on_ns: float | None
    ttft_ratio: float | None
    hit_ratio: float | None
    designed_hit_ratio: float | None
    by_request: bool = False


@dataclass(frozen=True, slots=True)
class PrefixReuse:
    """Two deployment directories, the first without prefix caching and the second with it."""

    off: str
    on: str
    stages: tuple[StageReuse, ...]


def prefix_reuse(results: Sequence[DeploymentResult], scenario: Scenario) -> tuple[PrefixReuse, ...]:
    """Each deployment with prefix caching compared with the first one of its precision and plan without it; empty if prompts share
    nothing.
    """
    found = []
    for on in results:
        off = next((off for off in results if _are_pair(off, on)), None)
        stages = tuple(reuse for stage in on.stages if off and (reuse := _stage_reuse(off, on, stage.span.name, scenario)))
        if off and any(stage.designed_hit_ratio for stage in stages):
            found.append(PrefixReuse(off.name, on.name, stages))
    return tuple(found)


def _are_pair(off: DeploymentResult, on: DeploymentResult) -> bool:
    same = (off.facts.dtype, off.facts.plan_sha256) == (on.facts.dtype, on.facts.plan_sha256)
    return same and on.facts.plan_sha256 is not None and on.facts.prefix_caching and not off.facts.prefix_caching


def _stage_reuse(off: DeploymentResult, on: DeploymentResult, name: str, scenario: Scenario) -> StageReuse | None:
    without, having = off.stage(name), on.stage(name)
    if without is None or having is None:
        return None
    off_ns, on_ns = without.latency.ttft_ns.p50, having.latency.ttft_ns.p50
    pressure = next((pressure for pressure in on.found[KV_PRESSURES] if pressure.stage == name), None)
    by_gauges = pressure.hit_ratio if pressure else None
    by_request = having.reuse.hit_ratio if having.reuse and by_gauges is None else None
    return StageReuse(
        stage=name,
        ttft_off_ns=off_ns,
        ttft_on_ns=on_ns,
        ttft_ratio=on_ns / off_ns if on_ns is not None and off_ns else None,
        hit_ratio=by_gauges if by_request is None else by_request,
        designed_hit_ratio=_designed_hit_ratio(name, having.span.planned, scenario),
        by_request=by_request is not None,
    )


def _designed_hit_ratio(name: str, planned: int, scenario: Scenario) -> float | None:
    """The designed hit ratio of the drawn prompts, without the repetitions in a stage that ends by time. None for a trace, which has
    its own, and for a stage that repeats requests that a cache has seen.
    """
    stage = next((stage for stage in scenario.load if stage.label == name), None)
    if stage is None or stage.trace or stage.same_as:
        return None
    work = scenario.workload
    if stage.duplicate_ratio is not None:
        work = work.model_copy(update={"duplicate_ratio": stage.duplicate_ratio})
    return expected_hit_ratio(work, stage.requests or min(planned, work.distinct_prompts))
