"""Tables with a row for each stage: latency, throughput, outcomes, KV cache, load generator, and the engine's reports about requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.metric import Metric
from trtbench.analysis.metrics import GROUP_METRICS, METRICS
from trtbench.analysis.stage.latency import Group
from trtbench.analysis.stage.outcomes import Conservation
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.summary import Summary
from trtbench.analysis.transport import Transport
from trtbench.report.kit.blocks import Block, Paragraph, Table
from trtbench.report.kit.columns import Cell, columns_of, printer, rows_of, stage_name, stage_table
from trtbench.report.kit.format import NONE, percent, seconds, statistic, whole, with_half_width, with_interval
from trtbench.report.kit.words import Words

_FIGURES = ("mean", "min", "p50", "p90", "p95", "p99", "p99_9", "max")


def latency_tables(summary: Summary, words: Words) -> list[Block]:
    blocks: list[Block] = [Paragraph(words("latency.note")), *unsteady_note(summary, words)] if measured(summary) else []
    percentiles = ("P50", "P90", "P95", words("col.p99_interval"), "P99.9")
    header = (*words.header("stage", "metric", "count", "mean", "min"), *percentiles, words("col.max"))
    for result in measured(summary):
        main = rows_of("latency", METRICS, words.task)
        rows = tuple(_distribution_row(stage, one) for stage in result.stages for one in main if _is_main(stage, one, words))
        blocks.append(Table(header, rows, words("latency.main", deployment=result.name), labels=2))
        if not words.task.streams_tokens:
            continue
        more = rows_of("more", METRICS, words.task)
        rows = tuple(_distribution_row(stage, metric) for stage in result.stages for metric in more if _is_shown(stage, metric))
        blocks.append(Table(header, rows, words("latency.more", deployment=result.name), labels=2, folded=True))
    return blocks


def _is_main(stage: StageResult, metric: Metric[StageResult], words: Words) -> bool:
    """Whether the main table has the row. Of tensors, rows without a request are left out, since not every such model streams."""
    has_row = metric.has_row is None or metric.has_row(stage)
    return has_row and (not words.task.sends_tensors or _is_shown(stage, metric))


def _is_shown(stage: StageResult, metric: Metric[StageResult]) -> bool:
    return metric.name == "token_rate_per_user" or bool(_distribution(stage, metric).count)


def _distribution(stage: StageResult, metric: Metric[StageResult]) -> Distribution:
    assert metric.value
    found: Distribution | None = metric.value(stage)
    return Distribution.of(()) if found is None else found


def _distribution_row(stage: StageResult, metric: Metric[StageResult]) -> tuple[str, ...]:
    values, shown = _distribution(stage, metric), printer(metric)
    mean, *others = (with_interval(values, name, shown) if name == "p99" else statistic(values, name, shown) for name in _FIGURES)
    certain = with_half_width(mean, metric.half_width(stage) if metric.half_width else None, shown)
    return (stage_name(stage), metric.name, whole(values.count), certain, *others)


def throughput_tables(summary: Summary, words: Words) -> list[Block]:
    columns = {"window": lambda stage: _window(stage, words)} | columns_of("throughput", METRICS, words.task)
    blocks: list[Block] = [stage_table(columns, result.stages, words, result.name) for result in measured(summary)]
    blocks += unsteady_note(summary, words)
    if not summary.scenario.slo.model_dump(exclude_none=True):
        blocks.append(Paragraph(words("throughput.no_slo")))
    return blocks


def unsteady_note(summary: Summary, words: Words) -> list[Block]:
    """What the sign of a stage that is not steady means; [] if all are."""
    marks = any(stage.uncertainty.changed for result in summary.deployments for stage in result.stages)
    return [Paragraph(words("core.unsteady"))] if marks else []


def _window(stage: StageResult, words: Words) -> str:
    length = seconds(stage.throughput.window_s)
    return words("throughput.steady", length=length) if stage.span.ended == "steady" else length


def group_tables(summary: Summary, words: Words) -> list[Block]:
    """The components of a mixed workload, then first and later turns of sessions; [] for a workload of one kind without sessions."""
    columns = columns_of("groups", GROUP_METRICS, words.task)
    blocks: list[Block] = []
    for result in summary.deployments:
        mixes = _group_rows(result.stages, lambda stage: stage.mixes, columns)
        turns = _group_rows(result.stages, lambda stage: {words(f"turn.{name}"): group for name, group in stage.turns.items()}, columns)
        for key, rows in (("component", mixes), ("turn", turns)):
            if rows:
                header = words.header("stage", key, *columns)
                blocks.append(Table(header, rows, words(f"groups.{key}", deployment=result.name), labels=2))
    return blocks


def _group_rows(
    stages: Sequence[StageResult], groups_of: Callable[[StageResult], Mapping[str, Group]], columns: Mapping[str, Cell[Group]]
) -> tuple[tuple[str, ...], ...]:
    named = ((stage, name, group) for stage in stages for name, group in groups_of(stage).items())
    return tuple((stage.span.name, name, *(cell(group) for cell in columns.values())) for stage, name, group in named)


def outcome_tables(summary: Summary, words: Words) -> list[Block]:
    header = words.header("stage", "equation", "errors", "classes")
    blocks: list[Block] = []
    for result in summary.deployments:
        named = [(s.span.name, s.conservation, s.uncertainty.error_ratio) for s in result.stages]
        named += [(s.name, s.conservation, None) for s in result.not_run]
        rows = tuple((name, _equation(e, words), _errors(e, ends), _classes(e, words)) for name, e, ends in named if e.planned)
        if rows:
            blocks.append(Table(header, rows, result.name, labels=len(header)))
    return blocks


def _errors(e: Conservation, ends: tuple[float, float] | None) -> str:
    """The error ratio with its 95 % interval."""
    return percent(e.error_ratio) if ends is None else f"{percent(e.error_ratio)} ({percent(ends[0])} … {percent(ends[1])})"


def _equation(e: Conservation, words: Words) -> str:
    cancelled = words("outcomes.as_planned", count=e.cancelled, planned=e.cancelled_as_planned) if e.cancelled_as_planned else e.cancelled
    text = f"{e.planned} = {e.completed} + {e.failed} + {cancelled} + {e.timed_out} + {e.never_sent}"
    return text if e.holds else words("outcomes.unrecorded", equation=text, count=e.unrecorded)


def _classes(e: Conservation, words: Words) -> str:
    return words.listed([f"{name} {count}" for name, count in e.failed_by_class.items()]) or NONE


def kv_tables(summary: Summary, words: Words) -> list[Block]:
    columns = columns_of("kv", METRICS, words.task)
    blocks: list[Block] = []
    for result in measured(summary):
        stages = [stage for stage in result.stages if stage.kv_cache]
        if stages and (cache := stages[0].kv_cache):
            caption = words("kv.caption", deployment=result.name, blocks=cache.blocks_max, block_tokens=whole(cache.block_tokens))
            blocks.append(stage_table(columns, stages, words, caption))
    return [*blocks, Paragraph(words("kv.note"))] if blocks else []


def client_tables(summary: Summary, words: Words) -> list[Block]:
    """A table for each deployment, with the connections of its workers in the note."""
    columns = {
        "stamps": lambda stage: _stamped_by(stage.stamps.kernel_ratio, words),
        **columns_of("client", METRICS, words.task),
        "retries": lambda stage: _retries(stage.conservation, words),
    }
    return [stage_table(columns, r.stages, words, r.name, _transport(r, words), labels=2) for r in measured(summary)]


def _stamped_by(kernel_ratio: float | None, words: Words) -> str:
    if kernel_ratio is None:
        return NONE
    if 0 < kernel_ratio < 1:
        return words("client.partly", share_ratio=kernel_ratio)
    return words("client.kernel" if kernel_ratio else "client.user")


def _retries(e: Conservation, words: Words) -> str:
    return words("client.retries", count=e.retries, completed=e.completed_by_retry) if e.retries else whole(0)


def _transport(result: DeploymentResult, words: Words) -> str:
    """The transport of the workers and their total number of connections; "" if no worker reported it."""
    transports = result.transports
    if not transports:
        return ""
    names = dict.fromkeys(f"{transport.name} ({transport.loop})" if transport.loop else transport.name for transport in transports)
    opened, lost = (sum(getattr(transport, name) for transport in transports) for name in ("connections", "connections_lost"))
    counts = {"workers": len(transports), "connections": opened, "lost": lost}
    return " ".join([words("client.transport", transport=words.listed(list(names)), **counts), *_paced(transports, words)])


def _paced(transports: Sequence[Transport], words: Words) -> list[str]:
    """The sentence about pauses in reading, if any worker made them."""
    reads, passes, crowded = (sum(getattr(t, name) for t in transports) for name in ("paced_reads", "paced_passes", "paced_reads_crowded"))
    if not reads:
        return []
    pause_ns, end_lag_ns = (max(getattr(t, name) for t in transports) for name in ("read_pause_longest_ns", "paced_end_lag_p99_ns"))
    counts = {"reads": reads, "passes": passes, "crowded": crowded}
    return [words("client.paced", pause_ns=pause_ns, end_lag_p99_ns=end_lag_ns, **counts)]


def reuse_by_request(summary: Summary, words: Words) -> list[Block]:
    """Prompt blocks that the engine found in its cache, as reported with each answer; [] if no answer reported them."""
    columns = {
        **columns_of("reuse", METRICS, words.task),
        "basis": lambda stage: words(f"reuse.basis_{stage.reuse.basis}"),
        **columns_of("reuse_ratio", METRICS, words.task),
    }
    return _reported(summary, "reuse.by_request", columns, lambda stage: stage.reuse is not None, words("reuse.by_request_note"), words)


def engine_time_tables(summary: Summary, words: Words) -> list[Block]:
    """The parts of the time that requests spent in the server, by its own sums; [] for a server that has none."""
    columns = columns_of("engine_times", METRICS, words.task)
    note = words("engine_times.note")
    return _reported(summary, "engine_times.caption", columns, lambda stage: stage.engine_times is not None, note, words)


def waterfall_table(summary: Summary, words: Words) -> list[Block]:
    """The parts of the mean latency, and of that around the P99, with a row for each stage; [] if the server reports no times or the task
    has none.
    """
    named = [(result.name, stage) for result in measured(summary) for stage in result.stages if stage.waterfall]
    tails = [(name, stage) for name, stage in named if stage.tail_waterfall]
    whole = _waterfall("waterfall", named, words("waterfall.caption"), words("waterfall.note"), words)
    return whole + _waterfall("tail_waterfall", tails, words("tail_waterfall.caption"), words("tail_waterfall.note"), words)


def _waterfall(table: str, stages: Sequence[tuple[str, StageResult]], caption: str, note: str, words: Words) -> list[Block]:
    columns = columns_of(table, METRICS, words.task)
    rows = tuple((name, stage.span.name, *(cell(stage) for cell in columns.values())) for name, stage in stages)
    return [Table(words.header("deployment", "stage", *columns), rows, caption, note, labels=2)] if rows and columns else []


def draft_acceptance(summary: Summary, words: Words) -> list[Block]:
    """Draft tokens and accepted ones, as the engine reported them with each answer; [] without speculative decoding."""
    columns = columns_of("drafts", METRICS, words.task)
    return _reported(summary, "drafts.caption", columns, lambda stage: stage.drafts is not None, words("drafts.note"), words)


def _reported(
    summary: Summary,
    caption: str,
    columns: Mapping[str, Cell[StageResult]],
    has_report: Callable[[StageResult], bool],
    note: str,
    words: Words,
) -> list[Block]:
    """A table for each deployment with stages that have such a report, with the note below it."""
    stages_of = {result.name: [stage for stage in result.stages if has_report(stage)] for result in summary.deployments}
    tables = [stage_table(columns, found, words, words(caption, deployment=name)) for name, found in stages_of.items() if found]
    return [*tables, Paragraph(note)] if tables else []


def measured(summary: Summary) -> Iterable[DeploymentResult]:
    return [result for result in summary.deployments if result.stages]
