"""Two precisions side by side."""

from __future__ import annotations

from trtbench.analysis.summary import Comparison, DeploymentResult, EmbeddingAgreement, StageRatios, Summary
from trtbench.report.kit.blocks import Block, Paragraph, Section, Table
from trtbench.report.kit.format import NONE, ms, number, seconds, size, times
from trtbench.report.kit.words import Words


def comparison_section(summary: Summary, pair: Comparison, words: Words) -> Section:
    """Speed (refused for different plans), size and memory, and agreement of what is said."""
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
    said = pair.agreement
    if said is None and words.task == "embed":
        blocks.append(Paragraph(_embeddings(pair.embeddings, words)))
    elif said is None:
        blocks.append(Paragraph(words("comparison.agreement_none")))
    else:
        ratios = {"identical_ratio": said.identical_ratio, "prefix_ratio": said.mean_prefix_ratio, "first_ratio": said.first_token_ratio}
        blocks.append(Paragraph(words("comparison.agreement", prompts=said.prompts, **ratios)))
    return Section(title, tuple(blocks))


def _embeddings(found: EmbeddingAgreement | None, words: Words) -> str:
    if found is None:
        return words("comparison.embeddings_none")
    cosines = {"mean_cosine": f"{found.mean_cosine:.4f}", "least_cosine": f"{found.least_cosine:.4f}"}
    return words("comparison.embeddings", prompts=found.prompts, **cosines)


def _speed(pair: Comparison, base: DeploymentResult, other: DeploymentResult, words: Words) -> Table:
    def cells(ratios: StageRatios) -> tuple[str, ...]:
        left, right = base.stage(ratios.stage), other.stage(ratios.stage)
        assert left is not None and right is not None
        if words.task == "embed":
            requests = [number(stage.throughput.request_throughput) for stage in (left, right)]
            latencies = (_cell(ms(left.latency.e2e_latency_ns.p50), ms(right.latency.e2e_latency_ns.p50), ratios.e2e_latency_p50, words),)
            return (ratios.stage, _cell(requests[0], requests[1], ratios.request_throughput, words), *latencies)
        rates = [number(stage.throughput.output_token_throughput) for stage in (left, right)]
        return (
            ratios.stage,
            _cell(rates[0], rates[1], ratios.output_token_throughput, words),
            _cell(ms(left.latency.ttft_ns.p50), ms(right.latency.ttft_ns.p50), ratios.ttft_p50, words),
            _cell(ms(left.latency.tpot_ns.p50), ms(right.latency.tpot_ns.p50), ratios.tpot_p50, words),
            _cell(ms(left.latency.e2e_latency_ns.p50), ms(right.latency.e2e_latency_ns.p50), ratios.e2e_latency_p50, words),
        )

    header: tuple[str, ...] = (words("col.stage"), words("col.tokens"), "TTFT P50 (ms)", "TPOT P50 (ms)", "E2E P50 (ms)")
    if words.task == "embed":
        header = (words("col.stage"), words("col.qps"), "E2E P50 (ms)")
    caption = words("comparison.speed", base=pair.base_dtype.upper(), other=pair.other_dtype.upper())
    return Table(header, tuple(cells(stage) for stage in pair.stages), caption)


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
