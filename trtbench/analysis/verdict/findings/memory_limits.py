"""Findings on memory: the KV cache and what it holds, and pages that the host has to read back."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.stage.kv_cache import NEAR_FULL_RATIO
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings.rule import Case

FAULTS_PER_S, PAGES_PER_S = 20.0, 100.0
"""Major page faults of the server, and pages that the machine reads back from swap, per second of a stage. An occasional read of a page of
a program or a file is below both.
"""
_COLD_RATIO, _WARM_RATIO = 0.5, 0.2


def kv_near_full(case: Case, stage: StageResult) -> Finding | None:
    """The peak of used KV blocks is 90 % or more; not for a KV cache that was sized for the whole running batch."""
    cache = stage.kv_cache
    if cache is None or case.result.facts.kv_holds_all_sequences or cache.used_ratio_peak < NEAR_FULL_RATIO:
        return None
    figures = {"peak_ratio": cache.used_ratio_peak, "near_full_ratio": cache.near_full_ratio, "blocks": cache.blocks_max}
    return Finding("kv_near_full", "warning", limits=True, figures=figures)


def host_memory_short(case: Case, stage: StageResult) -> Finding | None:
    """The server waits for over 20 pages a second from a disk, or the machine reads over 100 pages a second back from swap."""
    if not waits_for_pages(stage):
        return None
    use, left = stage.resources, stage.resources.memory_available_min_bytes
    figures: dict[str, float | str] = {
        "faults_per_s": use.server_major_faults_per_s or 0.0,
        "pages_per_s": use.swapped_in_pages_per_s or 0.0,
        "available_bytes": "-" if left is None else left,
    }
    return Finding("host_memory_short", "warning", limits=True, figures=figures)


def waits_for_pages(stage: StageResult) -> bool:
    use = stage.resources
    return (use.server_major_faults_per_s or 0) > FAULTS_PER_S or (use.swapped_in_pages_per_s or 0) > PAGES_PER_S


def prefix_cache_cold(case: Case) -> Iterator[Finding]:
    """The first stage found under half as many prompt blocks in the prefix cache as a later one, which found 20 % or more."""
    stages = [(stage, ratio) for stage in case.result.stages if (ratio := _prefix_hit_ratio(stage)) is not None]
    if len(stages) < 2 or not case.result.facts.may_cache_prefixes:
        return
    (first, cold), *later = stages
    warm_stage, warm = max(later, key=lambda one: one[1])
    if warm >= _WARM_RATIO and cold < _COLD_RATIO * warm:
        name = case.result.name
        figures: dict[str, float | str] = {"cold_ratio": cold, "warm_ratio": warm, "warm_stage": warm_stage.span.name}
        places = ((name, first.span.name), (name, warm_stage.span.name))
        yield Finding("prefix_cache_cold", "warning", name, first.span.name, figures=figures, rests_on=places)


def _prefix_hit_ratio(stage: StageResult) -> float | None:
    """As the engine reported with each answer, or else by its counters."""
    if stage.reuse and stage.reuse.hit_ratio is not None:
        return stage.reuse.hit_ratio
    return stage.engine_times.prefix_hit_ratio if stage.engine_times else None
