"""Further sections on the KV cache: the capacity of the budget, the consequences of cancelled requests, the gain of prefix reuse."""

from __future__ import annotations

from collections.abc import Callable

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.summary import Summary
from trtbench.experiments.kv_cache.cancel_control import CANCEL_CONTROLS, CancelControl, Survivors
from trtbench.experiments.kv_cache.cancellation import CANCELLATIONS, Cancellation
from trtbench.experiments.kv_cache.prefix_reuse import PREFIX_REUSE, PrefixReuse, StageReuse
from trtbench.experiments.kv_cache.pressure import KV_CAPACITY, KV_PRESSURES, Held, KvCapacity, KvPressure
from trtbench.report.kit.blocks import Block, Paragraph, Table
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import NONE, ms, number, percent, statistic, times, whole
from trtbench.report.kit.words import Words

_Figure = tuple[Callable[[Survivors], float | None], Callable[[Survivors], str]]
"""The value of a figure, and the text of it."""


def _rate(value: Callable[[Survivors], float | None]) -> _Figure:
    return value, lambda survivors: number(value(survivors))


def _percentile(values: Callable[[Survivors], Distribution], name: str) -> _Figure:
    return lambda survivors: getattr(values(survivors), name), lambda survivors: statistic(values(survivors), name, ms)


_FIGURES: dict[str, _Figure] = {
    "tokens": _rate(lambda s: s.tokens_per_s),
    "goodput": _rate(lambda s: s.goodput),
    "ttft": _percentile(lambda s: s.ttft_ns, "p50"),
    "ttft_p99": _percentile(lambda s: s.ttft_ns, "p99"),
    "tpot": _percentile(lambda s: s.tpot_ns, "p50"),
    "tpot_p99": _percentile(lambda s: s.tpot_ns, "p99"),
    "p50": _percentile(lambda s: s.e2e_latency_ns, "p50"),
    "p99": _percentile(lambda s: s.e2e_latency_ns, "p99"),
}


def control_blocks(summary: Summary, words: Words) -> list[Block]:
    """A table for each stage that has a control; if cancellations were audited without a control, the reason why there is none."""
    audited = [result for result in summary.deployments if result.found[CANCELLATIONS]]
    tables = [_table(result.name, control, words) for result in audited for control in result.found[CANCEL_CONTROLS]]
    alone = [result.name for result in audited if not result.found[CANCEL_CONTROLS]]
    notes = [words("cancel_control.note")] if tables else []
    doubtful = {control.stage: None for result in audited for control in result.found[CANCEL_CONTROLS] if control.disturbed}
    notes += [words("cancel_control.disturbed", stages=words.listed(list(doubtful)))] if doubtful else []
    notes += [words("cancel_control.none", deployments=words.listed(alone))] if alone else []
    return [*tables, *map(Paragraph, notes)]


def _table(deployment: str, control: CancelControl, words: Words) -> Table:
    header = (*words.header("metric", "with_cancels", "without_cancels"), words("comparison.ratio"))
    names = {"stage": control.stage, "control": control.control, "cancelled": percent(control.cancelled_ratio)}
    caption = words("cancel_control.caption", deployment=deployment, count=whole(control.compared), **names)
    return Table(header, tuple(_row(name, *_FIGURES[name], control, words) for name in words.task.shown("survivors", _FIGURES)), caption)


def _row(
    name: str, figure: Callable[[Survivors], float | None], text: Callable[[Survivors], str], control: CancelControl, words: Words
) -> tuple[str, ...]:
    beside, without = figure(control.beside), figure(control.without)
    ratio = beside / without if beside is not None and without else None
    return (words(f"col.{name}"), text(control.beside), text(control.without), times(ratio))


_PRESSURE = ("fit_mean", "fit_longest", "held_back", "waiting_peak", "waiting_share", "paused_peak", "paused_share", "reused_blocks")
_CANCELLATION = ("cancelled", "survivors", "survivor_tokens", "survivor_goodput", "wasted_tokens")
_LET_GO = ("let_go", "let_go_median", "let_go_max", "blocks_back", "blocks_back_median", "blocks_back_max", "blocks_beyond")
_REUSE = ("ttft_off", "ttft_on", "ttft_ratio", "hit_ratio", "designed_hit_ratio")


def kv_detail(summary: Summary, words: Words) -> list[Block]:
    """Empty if an engine reports no KV blocks, no request was cancelled as planned, and no deployments differ in prefix caching.

    For a model without a KV cache, only the figures of surviving requests are shown; the conservation equation counts the cancelled
    ones.
    """
    if not words.task.has_kv_cache:
        return control_blocks(summary, words)
    pressed = [result for result in summary.deployments if result.found[KV_PRESSURES]]
    audited = [result for result in summary.deployments if result.found[CANCELLATIONS]]
    blocks = [block for result in pressed for block in _pressure(result, words)]
    blocks += [Paragraph(words("kv_pressure.note"))] if pressed else []
    blocks += [_audit(result, summary.scenario.telemetry.interval_ms, words) for result in audited]
    blocks += [Paragraph(words("cancellation.note")), *control_blocks(summary, words)] if audited else []
    blocks += [_reuse(pair, words) for pair in summary.found[PREFIX_REUSE]]
    return [*blocks, Paragraph(words("reuse.note"))] if summary.found[PREFIX_REUSE] else blocks


def _pressure(result: DeploymentResult, words: Words) -> list[Block]:
    rows = tuple(_pressure_row(pressure) for pressure in result.found[KV_PRESSURES])
    table: Block = Table(words.header("stage", *_PRESSURE), rows, words("kv_pressure.caption", deployment=result.name))
    found = result.found[KV_CAPACITY]
    if found is None:
        return [table]
    users = {"carried": whole(found.carried_users), "first": whole(found.held_back_users), "predicted": _predicted(found)}
    users["agrees"] = NONE if found.agrees is None else words("limit.yes" if found.agrees else "limit.no")
    return [table, Paragraph(words("kv_pressure.found", deployment=result.name, **users))]


def _predicted(found: KvCapacity) -> str:
    least, most = whole(found.predicted_least), whole(found.predicted_most)
    return most if least == most else f"{least} - {most}"


def _pressure_row(pressure: KvPressure) -> tuple[str, ...]:
    fits = (whole(pressure.fit_mean), whole(pressure.fit_longest), percent(pressure.held_back_ratio))
    return (pressure.stage, *fits, *_held(pressure.waiting), *_held(pressure.paused), whole(pressure.reused_blocks))


def _held(held: Held | None) -> tuple[str, str]:
    return (whole(held.peak), percent(held.ratio)) if held else (NONE, NONE)


def _audit(result: DeploymentResult, interval_ms: int, words: Words) -> Table:
    rows = tuple(_audit_row(audit, result) for audit in result.found[CANCELLATIONS])
    return Table(
        words.header("stage", *_CANCELLATION, *_LET_GO), rows, words("cancellation.caption", deployment=result.name, interval=interval_ms)
    )


def _audit_row(audit: Cancellation, result: DeploymentResult) -> tuple[str, ...]:
    stage = result.stage(audit.stage)  # only requests that completed keep an SLO, so its goodput is the survivors'
    tokens = (number(audit.survivor_tokens_per_s), number(stage.throughput.goodput if stage else None), whole(audit.wasted_tokens))
    let_go = (whole(audit.let_go), ms(audit.let_go_median_ns), ms(audit.let_go_max_ns))
    back = (whole(audit.blocks_back), ms(audit.blocks_back_median_ns), ms(audit.blocks_back_max_ns))
    return (audit.stage, whole(audit.cancelled), whole(audit.survivors), *tokens, *let_go, *back, whole(audit.blocks_beyond))


def _reuse(pair: PrefixReuse, words: Words) -> Table:
    rows = tuple(
        (
            stage.stage,
            *(ms(stage.ttft_off_ns), ms(stage.ttft_on_ns), times(stage.ttft_ratio)),
            *(_hit_ratio(stage, words), percent(stage.designed_hit_ratio)),
        )
        for stage in pair.stages
    )
    return Table(words.header("stage", *_REUSE), rows, words("reuse.caption", on=pair.on, off=pair.off))


def _hit_ratio(stage: StageReuse, words: Words) -> str:
    ratio = percent(stage.hit_ratio)
    return words("reuse.told_by_request", ratio=ratio) if stage.by_request else ratio


REPORT = ExperimentReport(kv_blocks=kv_detail)
