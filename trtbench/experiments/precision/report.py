"""The report's comparison of two precisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.summary import Summary
from trtbench.experiments.precision.comparison import COMPARISONS, Comparison, StageRatios
from trtbench.report.kit.blocks import Block, Paragraph, Section, Table
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import NONE, estimate, ms, number, seconds, size, times
from trtbench.report.kit.grouping import in_rounds, is_many
from trtbench.report.kit.words import Words

_SPEED: dict[str, tuple[Callable[[StageResult], str], Callable[[StageRatios], float | None]]] = {
    "tokens": (lambda s: number(s.throughput.output_token_throughput), lambda r: r.output_token_throughput),
    "qps": (lambda s: number(s.throughput.request_throughput), lambda r: r.request_throughput),
    "ttft": (lambda s: ms(s.latency.ttft_ns.p50), lambda r: r.ttft_p50),
    "tpot": (lambda s: ms(s.latency.tpot_ns.p50), lambda r: r.tpot_p50),
    "e2e": (lambda s: ms(s.latency.e2e_latency_ns.p50), lambda r: r.e2e_latency_p50),
}
"""A figure of each side, and the ratio of the two."""
_LATENCIES = {"ttft": "TTFT P50 (ms)", "tpot": "TPOT P50 (ms)", "e2e": "E2E P50 (ms)"}


def comparison_section(summary: Summary, pair: Comparison, words: Words) -> Section:
    """Speed (not compared for different plans), size and memory, and agreement of the answers."""
    base, other = (next(r for r in summary.deployments if r.name == name) for name in (pair.base, pair.other))
    title = words("section.comparison", base=pair.base_dtype.upper(), other=pair.other_dtype.upper())
    if len({result.facts.deployment for result in summary.deployments}) > 1:
        title = f"{title} ({pair.deployment})"
    blocks: list[Block] = []
    if pair.same_plan:
        blocks.append(_speed(pair, base, other, words))
    else:
        blocks.append(Paragraph(words("comparison.refused", base=pair.base, other=pair.other)))
    blocks.append(_sizes(pair, base, other, words))
    return Section(title, (*blocks, Paragraph(_agreement(pair, words))), folded=is_many(summary))


def rounds_section(summary: Summary, rounds: Sequence[Comparison], cell: str, words: Words) -> Section:
    """The same over the rounds of a repeated load: each ratio within a round, because both precisions had the same requests there, and its
    mean over the rounds. Sizes and answers are those of the first round.
    """
    first = rounds[0]
    base, other = (next(r for r in summary.deployments if r.name == name) for name in (first.base, first.other))
    title = words("section.comparison", base=first.base_dtype.upper(), other=first.other_dtype.upper())
    columns = words.task.shown("comparison", _SPEED)
    by_stage = {ratios.stage: [one for pair in rounds for one in pair.stages if one.stage == ratios.stage] for ratios in first.stages}
    rows = tuple((stage, *(_mean(column, found) for column in columns)) for stage, found in sorted(by_stage.items()))
    header = (words("col.stage"), *(_LATENCIES.get(column) or words(f"col.{column}") for column in columns))
    dtypes = {"base": first.base_dtype.upper(), "other": first.other_dtype.upper()}
    table = Table(header, rows, words("comparison.speed_of_rounds", count=len(rounds), **dtypes))
    named = title if len(in_rounds(summary)) <= len(summary.scenario.engines) else f"{title} ({cell})"
    return Section(named, (table, _sizes(first, base, other, words), Paragraph(_agreement(first, words))))


def _mean(column: str, found: Sequence[StageRatios]) -> str:
    return estimate(Estimate.over(found, _SPEED[column][1]), times)


def _agreement(pair: Comparison, words: Words) -> str:
    if said := pair.agreement:
        ratios = {"identical_ratio": said.identical_ratio, "prefix_ratio": said.mean_prefix_ratio, "first_ratio": said.first_token_ratio}
        return words("comparison.agreement", prompts=said.prompts, **ratios)
    if vectors := pair.embeddings:
        cosines = {"mean_cosine": f"{vectors.mean_cosine:.4f}", "least_cosine": f"{vectors.least_cosine:.4f}"}
        return words("comparison.embeddings", prompts=vectors.prompts, **cosines)
    return words("comparison.agreement_none")


def _speed(pair: Comparison, base: DeploymentResult, other: DeploymentResult, words: Words) -> Table:
    def cell(column: str, ratios: StageRatios) -> str:
        left, right = base.stage(ratios.stage), other.stage(ratios.stage)
        assert left is not None and right is not None
        figure, ratio = _SPEED[column]
        return _cell(figure(left), figure(right), ratio(ratios), words)

    columns = words.task.shown("comparison", _SPEED)
    header = (words("col.stage"), *(_LATENCIES.get(column) or words(f"col.{column}") for column in columns))
    caption = words("comparison.speed", base=pair.base_dtype.upper(), other=pair.other_dtype.upper())
    return Table(header, tuple((ratios.stage, *(cell(column, ratios) for column in columns)) for ratios in pair.stages), caption)


def _cell(base: str, other: str, ratio: float | None, words: Words) -> str:
    return words("comparison.cell", base=base, other=other, ratio=times(ratio)) if ratio is not None else NONE


def _sizes(pair: Comparison, base: DeploymentResult, other: DeploymentResult, words: Words) -> Table:
    sizes = (size(base.facts.engine_size_bytes), size(other.facts.engine_size_bytes), times(pair.engine_size_ratio))
    memory = (size(base.rss_peak_bytes), size(other.rss_peak_bytes), times(pair.rss_peak_ratio))
    gpu = (size(base.gpu_memory_peak_bytes), size(other.gpu_memory_peak_bytes), times(pair.gpu_memory_peak_ratio))
    build = (seconds(base.facts.engine_build_s), seconds(other.facts.engine_build_s), "")
    rows = {"engine_size": sizes, "rss": memory, "gpu_memory": gpu, "build": build}
    kept = tuple((words(f"comparison.{key}"), *row) for key, row in rows.items() if row[0] != NONE)
    header = ("", pair.base_dtype.upper(), pair.other_dtype.upper(), words("comparison.ratio"))
    return Table(header, kept, words("comparison.facts"))


def _sections(summary: Summary, words: Words, _: tuple[str, ...]) -> list[Section]:
    if not in_rounds(summary):
        return [comparison_section(summary, pair, words) for pair in summary.found[COMPARISONS]]
    whole = {result.name: one.cell for one in in_rounds(summary) for result in one.rounds.values()}
    cells: dict[tuple[str, str, str], list[Comparison]] = {}
    for pair in summary.found[COMPARISONS]:
        if pair.base in whole and pair.other in whole:
            cells.setdefault((whole[pair.base], pair.base_dtype, pair.other_dtype), []).append(pair)
    return [rounds_section(summary, pairs, cell, words) for (cell, *_), pairs in cells.items()]


REPORT = ExperimentReport(sections=_sections, after="metrics")
