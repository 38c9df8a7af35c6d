"""The response cache in tables: its gain against the same deployment without it, and the requests that it answered."""

from __future__ import annotations

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.experiments.response_cache.cached_stage import CACHED_STAGES, CachedStage
from trtbench.experiments.response_cache.gain import CACHE_GAINS, StageGain
from trtbench.report.kit.blocks import Block, Figure, Paragraph, Section, Table
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import NONE, estimate, ms, number, percent, statistic, times, whole
from trtbench.report.kit.words import Words

_GAIN = ("repeats", "servable", "hits", "rate_off", "rate_on", "gain", "p50", "p99")
_DETAIL = (
    "answered",
    "counts",
    "hits",
    "servable",
    "repeats",
    "hit_time",
    "miss_time",
    "servable_latency",
    "other_latency",
    "evictions",
    "used",
)


def cache_blocks(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Block]:
    """The section of the response cache; empty if no server had one that received requests."""
    cached = [result for result in summary.deployments if result.found[CACHED_STAGES]]
    if not cached:
        return []
    blocks: list[Block] = [Figure("response_cache", words("figure.response_cache"))] if "response_cache" in drawings else []
    for pair in summary.found[CACHE_GAINS]:
        caption = words("response_cache.gain", on=pair.on, off=pair.off, dtype=pair.dtype)
        blocks.append(Table(_header(words, _GAIN), tuple(map(_gain_row, pair.stages)), caption))
    blocks += [_detail(result, words) for result in cached]
    return [*blocks, Paragraph(words("response_cache.note"))]


def _header(words: Words, columns: tuple[str, ...]) -> tuple[str, ...]:
    return (words("col.stage"), *(words(f"response_cache.col_{column}") for column in columns))


def _gain_row(stage: StageGain) -> tuple[str, ...]:
    shares = (percent(stage.repeat_ratio), percent(stage.servable_ratio), percent(stage.hit_ratio))
    rates, gain = (estimate(stage.rate_off, number), estimate(stage.rate_on, number)), estimate(stage.gain, times)
    latencies = (f"{ms(stage.p50_off_ns)} / {ms(stage.p50_on_ns)}", f"{ms(stage.p99_off_ns)} / {ms(stage.p99_on_ns)}")
    return (stage.stage, *shares, *rates, gain, *latencies)


def _detail(result: DeploymentResult, words: Words) -> Table:
    rows = tuple(_detail_row(stage) for stage in result.found[CACHED_STAGES])
    return Table(_header(words, _DETAIL), rows, words("response_cache.detail", deployment=result.name))


def _detail_row(stage: CachedStage) -> tuple[str, ...]:
    by_triton = f"{whole(stage.hits)} / {whole(stage.misses)}"
    counts = (whole(stage.answered), by_triton, percent(stage.hit_ratio), percent(stage.servable_ratio), percent(stage.repeat_ratio))
    groups = (stage.servable_e2e_ns, stage.other_e2e_ns)
    latencies = (f"{statistic(group, 'p50', ms)} / {statistic(group, 'p99', ms)}" if group.count else NONE for group in groups)
    return (
        stage.stage,
        *counts,
        ms(stage.hit_mean_ns),
        ms(stage.miss_mean_ns),
        *latencies,
        whole(stage.evictions),
        percent(stage.used_ratio),
    )


def _sections(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Section]:
    return [Section(words("section.response_cache"), tuple(cache_blocks(summary, words, drawings)))]


REPORT = ExperimentReport(sections=_sections)
