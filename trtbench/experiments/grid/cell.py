"""One cell of a batching grid: its figures over the rounds, and the frontiers that it is on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from trtbench.analysis.stage.latency import Percentile
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.estimate import Estimate
from trtbench.experiments.grid.race import Drop

Figure = Literal["goodput", "output_token_throughput", "request_throughput"]
LATENCIES = ("ttft_ns", "itl_ns", "e2e_latency_ns")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell with the means over the repeats whose rates are supported. `complete`: these are all requested repeats, or in a search all
    that were run.

    `by_round` holds the deciding figure by round. `drop` is the reason why a search dropped the cell.

    Of the engine's in-flight batch: `step_batch` (requests per step), `seen_batch` (as a scheduled request sees it), `in_company_ratio`,
    `waiting`. Of Triton's batcher: `batch_hit_ratio`, `mean_batch`, `fill_ratio`, `queue_ns`, of an encoder `compute_ns`,
    `padding_ratio`. A figure is None if it is missing in one of these repeats. `exact`: the in-flight figures were counted rather than
    sampled in all of them. `pareto`: the latencies on whose frontier the cell is, which means that no complete cell has a rate at least
    as high and that latency at least as low, with one of them better; None if unknown. `within_slo_ratio` is the mean of the repeats'
    goodput ratios, None without an SLO.
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
    step_batch: float | None
    seen_batch: float | None
    in_company_ratio: float | None
    waiting: float | None
    exact: bool
    by_round: dict[int, float]
    drop: Drop | None = None
    pareto: tuple[str, ...] | None = None
    compute_ns: float | None = None
    padding_ratio: float | None = None

    @property
    def rate(self) -> Estimate | None:
        """Output tokens per second, or requests per second for an encoder."""
        return self.request_throughput if self.output_token_throughput is None else self.output_token_throughput


def figure_by(cells: Sequence[Cell]) -> Figure:
    """The figure that ranks cells: goodput if the scenario sets an SLO, otherwise throughput."""
    if any(cell.goodput for cell in cells):
        return "goodput"
    return "output_token_throughput" if any(cell.output_token_throughput for cell in cells) else "request_throughput"


def cell_of(
    name: str,
    stages: Sequence[StageResult],
    percentiles: dict[str, Percentile],
    asked: int,
    by_round: dict[int, float],
    drop: Drop | None,
) -> Cell:
    over, mean = partial(Estimate.over, stages), partial(_mean, stages)

    def latency(name: str) -> Estimate | None:
        return over(lambda stage: getattr(getattr(stage.latency, name), percentiles[name]))

    return Cell(
        name=name,
        repeats=len(stages),
        complete=len(stages) == asked,
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
        step_batch=mean(lambda s: s.inflight.mean_batch if s.inflight else None),
        seen_batch=mean(lambda s: s.inflight.seen_batch if s.inflight else None),
        in_company_ratio=mean(lambda s: s.inflight.in_company_ratio if s.inflight else None),
        waiting=mean(lambda s: s.inflight.waiting.mean if s.inflight and s.inflight.waiting else None),
        exact=bool(stages) and all(s.inflight is not None and s.inflight.exact for s in stages),
        by_round=by_round,
        drop=drop,
        compute_ns=mean(lambda s: s.triton_batching.compute_mean_ns if s.triton_batching else None),
        padding_ratio=mean(lambda s: s.padding_ratio),
    )


def _mean(stages: Sequence[StageResult], pick: Callable[[StageResult], float | None]) -> float | None:
    found = Estimate.over(stages, pick)
    return found.mean if found else None


def with_pareto(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, each with the frontiers of throughput (higher is better) against a latency (lower is better) that it is on, by the
    means.
    """
    lie_on = {latency: _frontier_of(cells, latency) for latency in LATENCIES}
    known = {cell.name for cell in cells if cell.complete and cell.rate}

    def of(cell: Cell) -> tuple[str, ...] | None:
        return tuple(latency for latency, names in lie_on.items() if cell.name in names) if cell.name in known else None

    return tuple(replace(cell, pareto=of(cell)) for cell in cells)


def _frontier_of(cells: Sequence[Cell], latency: str) -> frozenset[str]:
    """The cells for which no other complete cell is better in one of the two figures without being worse in the other."""
    points: dict[str, tuple[float, float]] = {}
    for cell in cells:
        tokens, found = cell.rate, getattr(cell, latency)
        if cell.complete and tokens and found:
            points[cell.name] = (tokens.mean, found.mean)

    def bettered(tokens: float, ns: float) -> bool:
        return any(t >= tokens and n <= ns and (t, n) != (tokens, ns) for t, n in points.values())

    return frozenset(name for name, point in points.items() if not bettered(*point))
