"""The repeats of one kind of reload, as a middle and a spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from trtbench.experiments.hot_reload.pooled_windows import Pool, pool
from trtbench.experiments.hot_reload.reload_result import ReloadResult
from trtbench.experiments.hot_reload.windows import Measured

FIGURES: dict[str, Callable[[ReloadResult], float | None]] = {
    "ttft_spike_ratio": lambda one: one.ttft_spike_ratio,
    "itl_spike_ratio": lambda one: one.itl_spike_ratio,
    "recovery_ns": lambda one: one.recovery_ns,
    "load_s": lambda one: one.load_s,
    "overlap_ns": lambda one: one.overlap_ns,
    "first_request_penalty_ns": lambda one: one.first_request_penalty_ns,
    "lost": lambda one: one.lost,
}


@dataclass(frozen=True, slots=True)
class Spread:
    """`count` of the repeats have the figure; those that lack it are not in it."""

    median: float
    min: float
    max: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        known = [value for value in values if value is not None]
        return cls(median(known), min(known), max(known), len(known)) if known else None


@dataclass(frozen=True, slots=True)
class ReloadGroup:
    """The reloads that were asked alike; `figures` by the names of FIGURES. `recovered`: seen to recover."""

    example: ReloadResult
    repeats: int
    as_meant: int
    recovered: int
    figures: dict[str, Spread | None]
    pool: Pool


def groups(results: Sequence[ReloadResult], measured: Measured) -> tuple[ReloadGroup, ...]:
    """In the order in which they were first asked for; reloads that were broken off are left out."""
    alike: dict[tuple[object, ...], list[ReloadResult]] = {}
    for one in results:
        if one.end_ns is not None:
            alike.setdefault((one.kind, one.to, one.breaks, one.warmup), []).append(one)
    return tuple(
        ReloadGroup(
            example=ones[0],
            repeats=len(ones),
            as_meant=sum(one.as_meant for one in ones),
            recovered=sum(one.recovery_ns is not None for one in ones),
            figures={name: Spread.of(map(figure, ones)) for name, figure in FIGURES.items()},
            pool=pool(ones, measured),
        )
        for ones in alike.values()
    )
