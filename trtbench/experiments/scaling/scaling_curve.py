"""The scaling curve: the figures of each point over its repeats, its share of linear scaling, where the curve bends and which resource
explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.found import Key
from trtbench.analysis.stage.latency import Percentile, percentile_of
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.throughput import main_rate
from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.stats.usl import ScalabilityLaw, fit_law
from trtbench.analysis.verdict.verdict import Place
from trtbench.experiments.scaling.limiter import Limiter, Measured, Usage, is_filled, limiters, usage
from trtbench.experiments.scaling.spec import Axis, Scaling
from trtbench.scenario.scenario import Scenario

SCALINGS: Key[tuple[ScalingCurve, ...]] = Key("scalings")
Rounds = Mapping[int, Mapping[int, Measured]]
"""The stages of a curve by units and repeat."""


@dataclass(frozen=True, slots=True)
class ScalingPoint:
    """Means over the repeats whose rates are supported; `complete`: these are all requested repeats. `asked`: users or requests per
    second; `reached`: the lowest level that a repeat reached.

    `speedup` is this `rate` divided by the smallest point's, and `efficiency` the same per unit, both from pairs of one round, so that a
    drift between rounds cancels; None without a pair. `requests` are those of each server, summed over all repeats; () for a single
    server.
    """

    name: str
    units: int
    repeats: int
    complete: bool
    asked: float | None
    output_token_throughput: Estimate | None
    request_throughput: Estimate | None
    ttft_ns: Estimate | None
    e2e_latency_ns: Estimate | None
    speedup: Estimate | None
    efficiency: Estimate | None
    requests: tuple[int | None, ...]
    usage: Usage
    reached: float | None = None

    @property
    def rate(self) -> Estimate | None:
        """The compared throughput, as in `main_rate`: output tokens per second, or requests per second of an encoder."""
        return self.request_throughput if self.output_token_throughput is None else self.output_token_throughput


@dataclass(frozen=True, slots=True)
class ScalingCurve:
    """One axis with one stage on one engine, by size.

    `bend`: the first point whose mean efficiency is below the limit, None if there is none or it is unknown; `bend_clear`: its whole
    interval is below the limit, None with one repeat. `limiters` explain the bend. `law` is fitted to the means; `contention` and
    `coherency` are means of fits to each round, with their intervals. `balancer` is None if no servers are balanced. `filled`: the load
    saturates the smallest point.
    """

    axis: str
    stage: str
    dtype: str
    percentile: Percentile
    points: tuple[ScalingPoint, ...]
    bound_ratio: float
    bend: ScalingPoint | None
    bend_clear: bool | None
    limiters: tuple[Limiter, ...]
    law: ScalabilityLaw | None
    contention: Estimate | None
    coherency: Estimate | None
    balancer: str | None
    filled: bool | None
    rests_on: tuple[Place, ...] = ()  # the stage on the deployments of all points and repeats

    @property
    def largest(self) -> ScalingPoint | None:
        """The largest point with a known efficiency, or None if only the smallest point has one."""
        known = [point for point in self.points[1:] if point.efficiency]
        return known[-1] if known else None


def scaling_curves(results: Sequence[DeploymentResult], scenario: Scenario, cpu_count: int) -> tuple[ScalingCurve, ...]:
    """The curves; () for a scenario without scaling, and for an external server."""
    scaling, served = scenario.scaling, [result for result in results if result.facts.deployment in scenario.deployments]
    if scaling is None or not served:
        return ()
    return tuple(
        _curve(axis, stage.label, dtype, scaling, _rounds(axis, stage.label, dtype, scaling, served), cpu_count)
        for axis in scaling.axes
        for dtype in scenario.engines
        for stage in scenario.load
    )


def _rounds(axis: Axis, label: str, dtype: str, scaling: Scaling, results: Sequence[DeploymentResult]) -> Rounds:
    """The stages whose rates are supported."""
    rounds: dict[int, dict[int, Measured]] = {units: {} for units in scaling.points(axis)}
    for result in results:
        along, units = scaling.point_of(result.facts.deployment)
        stage = result.stage(label)
        if (along, result.facts.dtype) == (axis, dtype) and stage is not None and stage.supports_rates:
            rounds[units][scaling.round_of(result.facts.deployment)] = result, stage
    return rounds


def _curve(axis: Axis, label: str, dtype: str, scaling: Scaling, rounds: Rounds, cpu_count: int) -> ScalingCurve:
    percentile = percentile_of([stage.latency for repeats in rounds.values() for _, stage in repeats.values()], "e2e_latency_ns")
    cells = scaling.points(axis).items()
    points = tuple(_point(name, units, rounds, percentile, scaling.repeats, cpu_count) for units, name in cells)
    bound = scaling.efficiency_bound_ratio
    bend = next((point for point in points if point.efficiency and point.efficiency.mean < bound), None)
    laws = [law for number in range(1, scaling.repeats + 1) if (law := fit_law(_of_round(rounds, number)))]
    return ScalingCurve(
        axis=axis,
        stage=label,
        dtype=dtype,
        percentile=percentile,
        points=points,
        bound_ratio=bound,
        bend=bend,
        bend_clear=_clear(bend, bound),
        limiters=limiters(bend.usage, points[0].usage, cpu_count) if bend else (),
        law=fit_law([(p.units, p.rate.mean) for p in points if p.rate]),
        contention=Estimate.of(law.contention for law in laws),
        coherency=Estimate.of(law.coherency for law in laws),
        balancer=scaling.base.replicas.balancer if scaling.base and axis in ("servers", "gpus") else None,
        filled=is_filled(points[0].usage),
        rests_on=tuple((result.name, label) for repeats in rounds.values() for result, _ in repeats.values()),
    )


def _point(name: str, units: int, rounds: Rounds, percentile: Percentile, repeats: int, cpu_count: int) -> ScalingPoint:
    measured, smallest = rounds[units], min(rounds)
    stages = [stage for _, stage in measured.values()]

    def over(pick: Callable[[StageResult], float | None]) -> Estimate | None:
        return Estimate.over(stages, pick)

    pairs = [(measured[r][1], rounds[smallest][r][1]) for r in sorted(measured.keys() & rounds[smallest].keys())]
    speedups = [ratio for large, small in pairs if (ratio := _speedup(large, small)) is not None]
    return ScalingPoint(
        name=name,
        units=units,
        repeats=len(stages),
        complete=len(stages) == repeats,
        asked=stages[0].span.asked if stages else None,
        output_token_throughput=over(lambda s: s.throughput.output_token_throughput),
        request_throughput=over(lambda s: s.throughput.request_throughput),
        ttft_ns=over(lambda s: getattr(s.latency.ttft_ns, percentile)),
        e2e_latency_ns=over(lambda s: getattr(s.latency.e2e_latency_ns, percentile)),
        speedup=Estimate.of(speedups),
        efficiency=Estimate.of(speedup * smallest / units for speedup in speedups),
        requests=_requests(stages),
        usage=usage(list(measured.values()), cpu_count),
        reached=min((stage.level for stage in stages), default=None),
    )


def _speedup(large: StageResult, small: StageResult) -> float | None:
    of, over = main_rate(large.throughput), main_rate(small.throughput)
    return of / over if of is not None and over else None


def _requests(stages: Sequence[StageResult]) -> tuple[int | None, ...]:
    every = [[replica.requests for replica in stage.resources.replicas] for stage in stages]
    if not every or len({len(counts) for counts in every}) > 1:
        return ()
    return tuple(sum(c for c in counts if c is not None) if None not in counts else None for counts in zip(*every, strict=True))


def _of_round(rounds: Rounds, number: int) -> list[tuple[float, float]]:
    found = ((float(units), main_rate(repeats[number][1].throughput)) for units, repeats in rounds.items() if number in repeats)
    return [(units, rate) for units, rate in found if rate is not None]


def _clear(bend: ScalingPoint | None, bound_ratio: float) -> bool | None:
    if bend is None or bend.efficiency is None or bend.efficiency.half_width is None:
        return None
    return bend.efficiency.mean + bend.efficiency.half_width < bound_ratio
