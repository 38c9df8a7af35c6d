"""The batching grid: what each cell gives over its repeats, which cells no other betters, and whether one of them wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trtbench.analysis.deployments import DeploymentResult
from trtbench.analysis.estimate import Estimate
from trtbench.analysis.stages import StageResult
from trtbench.scenario import Grid, Scenario, cells_of

SLO_KEPT_RATIO = 0.99
"""Share of the planned requests within every SLO, all repeats together, from which a cell keeps the SLO."""

Percentile = Literal["p50", "p99"]
Figure = Literal["goodput", "output_token_throughput"]
_LATENCIES = ("ttft_ns", "itl_ns", "e2e_latency_ns")


@dataclass(frozen=True, slots=True)
class Cell:
    """Means over the repeats whose rates hold; `complete`: that is all that were asked.

    Triton's batcher: `batch_hit_ratio`, `mean_batch`, `fill_ratio`, `queue_ns`; the engine's in-flight batch: `running`,
    `batched_ratio` (readings with two or more). None where that was not read in every such repeat. `pareto`: no complete cell has
    both a throughput at least as high and a TTFT at least as low, one of them better; None where either is not known. `within_slo_ratio`
    is the mean of the repeats' goodput ratios, None without an SLO.
    """

    name: str
    repeats: int
    complete: bool
    output_token_throughput: Estimate | None
    request_throughput: Estimate | None
    ttft_ns: Estimate | None
    itl_ns: Estimate | None
    e2e_latency_ns: Estimate | None
    goodput: Estimate | None
    within_slo_ratio: float | None
    batch_hit_ratio: float | None
    mean_batch: float | None
    fill_ratio: float | None
    queue_ns: float | None
    running: float | None
    batched_ratio: float | None
    pareto: bool | None = None


@dataclass(frozen=True, slots=True)
class Winner:
    """The highest mean of `figure`. `clear`: its interval meets that of no other candidate; None with one repeat, which tells nothing.

    `rivals` are the candidates whose interval meets the winner's. `margin_ratio` is over `second`; None without a second.
    """

    cell: str
    figure: Figure
    second: str | None
    margin_ratio: float | None
    clear: bool | None
    rivals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frontier:
    """One stage on one engine. `percentiles`: the percentile of each latency, P99 only where every repeat of every cell has it.

    `winner` is None where no complete cell keeps the SLO, or none is complete.
    """

    stage: str
    dtype: str
    cells: tuple[Cell, ...]
    percentiles: dict[str, Percentile]
    winner: Winner | None


def frontiers(results: Sequence[DeploymentResult], scenario: Scenario) -> tuple[Frontier, ...]:
    """() of a scenario without a grid, and of a server that the run did not deploy."""
    grid = scenario.grid
    served = [result for result in results if result.facts.deployment in scenario.deployments]
    if grid is None or grid.base is None or not served:
        return ()
    names = tuple(cells_of(grid, grid.base, grid.cell_of(next(iter(scenario.deployments)))).cells)
    return tuple(
        _frontier(stage.label, dtype, names, [result for result in served if result.facts.dtype == dtype], grid)
        for dtype in scenario.engines
        for stage in scenario.load
    )


def _frontier(label: str, dtype: str, names: Sequence[str], results: Sequence[DeploymentResult], grid: Grid) -> Frontier:
    stages: dict[str, list[StageResult]] = {name: [] for name in names}
    for result in results:
        stage = result.stage(label)
        if stage is not None and stage.supports_rates:
            stages[grid.cell_of(result.facts.deployment)].append(stage)
    every = [stage for group in stages.values() for stage in group]
    percentiles = {latency: _percentile(every, latency) for latency in _LATENCIES}
    cells = with_pareto([_cell(name, group, percentiles, grid.repeats) for name, group in stages.items()])
    return Frontier(label, dtype, cells, percentiles, winner(cells))


def _percentile(stages: Sequence[StageResult], latency: str) -> Percentile:
    return "p99" if stages and all(getattr(stage.latency, latency).p99 is not None for stage in stages) else "p50"


def _cell(name: str, stages: Sequence[StageResult], percentiles: dict[str, Percentile], repeats: int) -> Cell:
    def over(pick: Callable[[StageResult], float | None]) -> Estimate | None:
        values = [value for stage in stages if (value := pick(stage)) is not None]
        return Estimate.of(values) if len(values) == len(stages) else None

    def mean(pick: Callable[[StageResult], float | None]) -> float | None:
        found = over(pick)
        return found.mean if found else None

    def latency(name: str) -> Estimate | None:
        return over(lambda stage: getattr(getattr(stage.latency, name), percentiles[name]))

    return Cell(
        name=name,
        repeats=len(stages),
        complete=len(stages) == repeats,
        output_token_throughput=over(lambda s: s.throughput.output_token_throughput),
        request_throughput=over(lambda s: s.throughput.request_throughput),
        ttft_ns=latency("ttft_ns"),
        itl_ns=latency("itl_ns"),
        e2e_latency_ns=latency("e2e_latency_ns"),
        goodput=over(lambda s: s.throughput.goodput),
        within_slo_ratio=mean(lambda s: s.throughput.goodput_ratio),
        batch_hit_ratio=mean(lambda s: s.triton_batching.batch_hit_ratio if s.triton_batching else None),
        mean_batch=mean(lambda s: s.triton_batching.mean_batch if s.triton_batching else None),
        fill_ratio=mean(lambda s: s.triton_batching.fill_ratio if s.triton_batching else None),
        queue_ns=mean(lambda s: s.triton_batching.queue_mean_ns if s.triton_batching else None),
        running=mean(lambda s: s.inflight.running.mean if s.inflight else None),
        batched_ratio=mean(lambda s: s.inflight.batched_ratio if s.inflight else None),
    )


def with_pareto(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, each told whether it lies on the frontier of throughput (higher) against TTFT (lower), by the means."""
    points = {cell.name: point for cell in cells if cell.complete and (point := _point(cell))}

    def bettered(tokens: float, ttft_ns: float) -> bool:
        return any(t >= tokens and ns <= ttft_ns and (t, ns) != (tokens, ttft_ns) for t, ns in points.values())

    return tuple(replace(cell, pareto=not bettered(*points[cell.name]) if cell.name in points else None) for cell in cells)


def _point(cell: Cell) -> tuple[float, float] | None:
    tokens, ttft = cell.output_token_throughput, cell.ttft_ns
    return (tokens.mean, ttft.mean) if tokens and ttft else None


def winner(cells: Sequence[Cell]) -> Winner | None:
    """By goodput where the scenario sets an SLO (a cell then has a goodput), else by output tokens a second."""
    figure: Figure = "goodput" if any(cell.goodput for cell in cells) else "output_token_throughput"
    known: list[tuple[Cell, Estimate]] = []
    for cell in cells:
        estimate: Estimate | None = getattr(cell, figure)
        if estimate and cell.complete and (figure != "goodput" or (cell.within_slo_ratio or 0.0) >= SLO_KEPT_RATIO):
            known.append((cell, estimate))
    if not known:
        return None
    (first, best), *others = sorted(known, key=lambda pair: -pair[1].mean)
    second = others[0] if others else None
    meets = [(cell.name, best.overlaps(estimate)) for cell, estimate in others]
    unknown = any(overlap is None for _, overlap in meets)
    rivals = tuple(name for name, overlap in meets if overlap)
    return Winner(
        cell=first.name,
        figure=figure,
        second=second[0].name if second else None,
        margin_ratio=best.mean / second[1].mean - 1 if second and second[1].mean else None,
        clear=None if unknown else not rivals,
        rivals=rivals,
    )
