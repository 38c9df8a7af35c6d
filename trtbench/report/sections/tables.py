"""The detail tables, one function a section; each gives blocks and nothing for what was not measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from trtbench.analysis.deployments import DeploymentResult
from trtbench.analysis.stage.outcomes import Conservation
from trtbench.analysis.stage.stage import StageResult
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.stats.window import Level
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Paragraph, Table
from trtbench.report.kit.format import NONE, about, ms, number, percent, seconds, size, whole
from trtbench.report.kit.words import Words

_MAIN = ("ttft_ns", "itl_ns", "tpot_ns", "e2e_latency_ns", "e2e_latency_from_sent_ns", "send_lag_ns")
_MORE = (
    "ttft_from_sent_ns",
    "e2e_latency_from_sent_ns",
    "itl_per_token_ns",
    "server_queue_ns",
    "server_prefill_ns",
    "server_decode_ns",
    "outside_engine_ns",
)
_THROUGHPUT = ("stage", "window", "completed", "offered", "qps", "tokens", "input_tokens", "goodput", "goodput_ratio", "energy")
_OF_STAMPS = ("ttft_from_read_ns", "itl_from_read_ns", "tpot_from_read_ns", "itl_exact_ns")
_PERCENTILES = {"p50": "P50", "p90": "P90", "p95": "P95", "p99": "P99", "p99_9": "P99.9"}


def latency_tables(summary: Summary, words: Words) -> list[Block]:
    blocks: list[Block] = [Paragraph(words("latency.note"))] if _measured(summary) else []
    header = (*words.header("stage", "metric", "count", "mean", "min"), *_PERCENTILES.values(), words("col.max"))
    for result in _measured(summary):
        names = words.task.shown("latency", _MAIN)
        main = tuple(_distribution_row(s, name, getattr(s.latency, name), ms) for s in result.stages for name in names)
        blocks.append(Table(header, main, words("latency.main", deployment=result.name), labels=2))
        if not words.task.streams_tokens:
            continue
        more = tuple(row for s in result.stages for row in _more_rows(s))
        blocks.append(Table(header, more, words("latency.more", deployment=result.name), labels=2, folded=True))
    return blocks


def _more_rows(stage: StageResult) -> Iterable[tuple[str, ...]]:
    of_stage = {name: getattr(stage.latency, name) for name in _MORE} | {name: getattr(stage.stamps, name) for name in _OF_STAMPS}
    yield from (_distribution_row(stage, name, values, ms) for name, values in of_stage.items() if values.count)
    yield _distribution_row(stage, "token_rate_per_user", stage.latency.token_rate_per_user, number)


def _distribution_row(stage: StageResult, name: str, values: Distribution, shown: Callable[[float | None], str]) -> tuple[str, ...]:
    percentiles = (getattr(values, percentile) for percentile in _PERCENTILES)
    figures = (values.mean, values.min, *percentiles, values.max)
    return (stage.span.name, name.removesuffix("_ns"), whole(values.count), *(shown(figure) for figure in figures))


def throughput_tables(summary: Summary, words: Words) -> list[Block]:
    columns = words.task.shown("throughput", _THROUGHPUT)
    blocks: list[Block] = []
    for result in _measured(summary):
        cells = [_throughput_row(stage, words) for stage in result.stages]
        blocks.append(Table(words.header(*columns), tuple(tuple(row[column] for column in columns) for row in cells), result.name))
    if not summary.scenario.slo.model_dump(exclude_none=True):
        blocks.append(Paragraph(words("throughput.no_slo")))
    return blocks


def _throughput_row(stage: StageResult, words: Words) -> dict[str, str]:
    rates = stage.throughput
    cells = (
        stage.span.name,
        _window(stage, words),
        whole(rates.completed),
        number(rates.offered_rate),
        number(rates.request_throughput),
        about(rates.output_token_throughput, rates.tokens_estimated),
        number(rates.input_token_throughput),
        number(rates.goodput),
        percent(rates.goodput_ratio),
        number(stage.energy_per_token_j),
    )
    return dict(zip(_THROUGHPUT, cells, strict=True))


def _window(stage: StageResult, words: Words) -> str:
    length = seconds(stage.throughput.window_s)
    return words("throughput.steady", length=length) if stage.span.ended == "steady" else length


def outcome_tables(summary: Summary, words: Words) -> list[Block]:
    header = words.header("stage", "equation", "errors", "classes")
    blocks: list[Block] = []
    for result in summary.deployments:
        named = [(s.span.name, s.conservation) for s in result.stages] + [(s.name, s.conservation) for s in result.not_run]
        rows = tuple((name, _equation(e, words), percent(e.error_ratio), _classes(e, words)) for name, e in named if e.planned)
        if rows:
            blocks.append(Table(header, rows, result.name, labels=len(header)))
    return blocks


def _equation(e: Conservation, words: Words) -> str:
    cancelled = words("outcomes.as_planned", count=e.cancelled, planned=e.cancelled_as_planned) if e.cancelled_as_planned else e.cancelled
    text = f"{e.planned} = {e.completed} + {e.failed} + {cancelled} + {e.timed_out} + {e.never_sent}"
    return text if e.holds else words("outcomes.unrecorded", equation=text, count=e.unrecorded)


def _classes(e: Conservation, words: Words) -> str:
    return words.listed([f"{name} {count}" for name, count in e.failed_by_class.items()]) or NONE


def kv_tables(summary: Summary, words: Words) -> list[Block]:
    header = words.header("stage", "kv_peak", "kv_mean", "kv_near_full", "kv_theory", "kv_measured", "kv_fragmentation")
    blocks: list[Block] = []
    for result in _measured(summary):
        caches = [(stage.span.name, stage.kv_cache) for stage in result.stages if stage.kv_cache]
        rows = tuple(
            (
                name,
                percent(cache.used_ratio_peak),
                percent(cache.used_ratio_mean),
                percent(cache.near_full_ratio),
                whole(cache.bytes_per_token_theory),
                whole(cache.bytes_per_token_measured),
                percent(cache.fragmentation_ratio),
            )
            for name, cache in caches
        )
        if caches:
            first = caches[0][1]
            caption = words("kv.caption", deployment=result.name, blocks=first.blocks_max, block_tokens=whole(first.block_tokens))
            blocks.append(Table(header, rows, caption))
    return [*blocks, Paragraph(words("kv.note"))] if blocks else []


def resource_tables(summary: Summary, words: Words) -> list[Block]:
    columns = ("stage", "server_cpu", "server_rss", "client_cpu", "loop_lag", "machine_cpu", "memory_free", "fds")
    blocks: list[Block] = []
    for result in _measured(summary):
        rows = tuple(_resource_row(stage) for stage in result.stages)
        if any(set(row[1:]) != {NONE} for row in rows):
            blocks.append(Table(words.header(*columns), rows, words("resources.caption", deployment=result.name)))
        gpus = tuple(row for stage in result.stages for row in _gpu_rows(stage))
        if gpus:
            header = words.header("stage", "gpu_index", "gpu_use", "gpu_memory", "gpu_power", "gpu_clock", "gpu_temperature")
            blocks.append(Table(header, gpus, words("resources.gpu", deployment=result.name)))
    return blocks


def _resource_row(stage: StageResult) -> tuple[str, ...]:
    use = stage.resources
    counts = [whole(level.max) for level in (use.server_fds, use.server_threads) if level]
    return (
        stage.span.name,
        _pair(use.server_cpu_cores),
        size(_max(use.server_rss_bytes)),
        _pair(use.client_cpu_cores),
        ms(_max(use.client_loop_lag_ns)),
        percent(use.machine_cpu_ratio.mean if use.machine_cpu_ratio else None),
        size(use.memory_available_min_bytes),
        " / ".join(counts) or NONE,
    )


def _gpu_rows(stage: StageResult) -> Iterable[tuple[str, ...]]:
    for label, gpu in stage.resources.gpus.items():
        use, clock = gpu.utilization_ratio, gpu.sm_clock_mhz
        yield (
            stage.span.name,
            label,
            f"{percent(use.mean)} / {percent(use.max)}" if use else NONE,
            size(_max(gpu.memory_used_bytes)),
            _pair(gpu.power_w),
            f"{whole(clock.mean)} / {whole(clock.min)}" if clock else NONE,
            whole(_max(gpu.temperature_c)),
        )


def _pair(level: Level | None) -> str:
    return f"{number(level.mean)} / {number(level.max)}" if level else NONE


def _max(level: Level | None) -> float | None:
    return level.max if level else None


def _measured(summary: Summary) -> Sequence[DeploymentResult]:
    return [result for result in summary.deployments if result.stages]
