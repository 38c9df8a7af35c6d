"""The gain of a response cache: deployments with one compared with those that differ in nothing else, on one plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.found import Key
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.throughput import main_rate
from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.verdict.verdict import Place
from trtbench.experiments.response_cache.cached_stage import CACHED_STAGES, CachedStage
from trtbench.scenario.scenario import Scenario

CACHE_GAINS: Key[tuple[CacheGain, ...]] = Key("cache_gains")
Rounds = list[tuple[StageResult, StageResult, CachedStage]]
"""For each repeat: the stage without the cache, the stage with it, and the cache's figures."""


@dataclass(frozen=True, slots=True)
class StageGain:
    """One stage over the repeats whose rates are supported on both sides. Rates are requests per second; `gain` is on / off, by repeat.

    Ratios and latencies are means over the repeats: of requests that repeat an earlier one, that could be answered, and that were
    answered. A latency is None if a repeat has too few requests for it. `level` and `closed` describe the load.
    """

    stage: str
    closed: bool
    level: float
    repeat_ratio: float | None
    servable_ratio: float | None
    hit_ratio: float | None
    rate_off: Estimate
    rate_on: Estimate
    gain: Estimate
    p50_off_ns: float | None
    p50_on_ns: float | None
    p99_off_ns: float | None
    p99_on_ns: float | None
    rests_on: tuple[Place, ...] = ()  # the stages of all repeats, without the cache and with it

    @property
    def clear(self) -> bool:
        """Whether the interval of the gain excludes 1."""
        return self.gain.half_width is not None and abs(self.gain.mean - 1) > self.gain.half_width


@dataclass(frozen=True, slots=True)
class CacheGain:
    """`off` and `on`: the deployments (in a grid: the cells) of one precision."""

    off: str
    on: str
    dtype: str
    stages: tuple[StageGain, ...]


def cache_gains(results: Sequence[DeploymentResult], scenario: Scenario) -> tuple[CacheGain, ...]:
    """The gains of all pairs; () if no deployment had a response cache, or if all had one."""
    pairs: dict[tuple[str, str, str], list[tuple[DeploymentResult, DeploymentResult]]] = {}
    for on in results:
        off = next((off for off in results if on.found[CACHED_STAGES] and _are_pair(off, on, scenario)), None)
        if off:
            key = (_cell(off, scenario), _cell(on, scenario), on.facts.dtype or "")
            pairs.setdefault(key, []).append((off, on))
    return tuple(CacheGain(*key, stages=stages) for key, served in pairs.items() if (stages := _stages(served)))


def _are_pair(off: DeploymentResult, on: DeploymentResult, scenario: Scenario) -> bool:
    same = (off.facts.dtype, off.facts.plan_sha256, _round(off, scenario)) == (on.facts.dtype, on.facts.plan_sha256, _round(on, scenario))
    return same and on.facts.plan_sha256 is not None and not off.found[CACHED_STAGES] and _rest(off.facts.config) == _rest(on.facts.config)


def _rest(config: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in config.items() if key != "response_cache"}


def _cell(result: DeploymentResult, scenario: Scenario) -> str:
    return scenario.rounds.cell_of(result.facts.deployment) if scenario.rounds else result.facts.deployment


def _round(result: DeploymentResult, scenario: Scenario) -> int:
    return scenario.rounds.round_of(result.facts.deployment) if scenario.rounds else 1


def _stages(served: Sequence[tuple[DeploymentResult, DeploymentResult]]) -> tuple[StageGain, ...]:
    rounds: dict[str, Rounds] = {}
    for off, on in served:
        for cached in on.found[CACHED_STAGES]:
            without, having = off.stage(cached.stage), on.stage(cached.stage)
            if without and having and without.supports_rates and having.supports_rates:
                rounds.setdefault(cached.stage, []).append((without, having, cached))
    names = [result.name for pair in served for result in pair]
    gains = (_gain(name, found, tuple((deployment, name) for deployment in names)) for name, found in rounds.items())
    return tuple(gain for gain in gains if gain)


def _gain(name: str, rounds: Rounds, rests_on: tuple[Place, ...]) -> StageGain | None:
    rates = [(main_rate(off.throughput), main_rate(on.throughput)) for off, on, _ in rounds]
    known = [(off, on) for off, on in rates if off and on]
    rate_off, rate_on = Estimate.of(off for off, _ in known), Estimate.of(on for _, on in known)
    gain = Estimate.of(on / off for off, on in known)
    if rate_off is None or rate_on is None or gain is None:
        return None
    off_ns = [off.latency.e2e_latency_ns for off, _, _ in rounds]
    on_ns = [on.latency.e2e_latency_ns for _, on, _ in rounds]
    return StageGain(
        stage=name,
        closed=rounds[0][1].is_closed_loop,
        level=rounds[0][1].level,
        repeat_ratio=_mean([cached.repeat_ratio for *_, cached in rounds]),
        servable_ratio=_mean([cached.servable_ratio for *_, cached in rounds]),
        hit_ratio=_mean([cached.hit_ratio for *_, cached in rounds]),
        rate_off=rate_off,
        rate_on=rate_on,
        gain=gain,
        p50_off_ns=_mean([latency.p50 for latency in off_ns]),
        p50_on_ns=_mean([latency.p50 for latency in on_ns]),
        p99_off_ns=_mean([latency.p99 for latency in off_ns]),
        p99_on_ns=_mean([latency.p99 for latency in on_ns]),
        rests_on=rests_on,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
