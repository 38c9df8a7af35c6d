"""The report's comparison of two precisions."""

from __future__ import annotations

from collections.abc import Callable

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.summary import Summary
from trtbench.experiments.precision.comparison import COMPARISONS, Comparison, StageRatios
from trtbench.report.kit.blocks import Block, Paragraph, Section, Table
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import NONE, ms, number, seconds, size, times
from trtbench.report.kit.grouping import is_many
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
    return [comparison_section(summary, pair, words) for pair in summary.found[COMPARISONS]]


REPORT = ExperimentReport(sections=_sections, after="metrics")
