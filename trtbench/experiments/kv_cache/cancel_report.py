"""What became of requests that stay while others are cancelled, beside the same requests where none is."""

from __future__ import annotations

from collections.abc import Callable

from trtbench.analysis.summary import Summary
from trtbench.experiments.kv_cache.cancel_control import CANCEL_CONTROLS, CancelControl, Survivors
from trtbench.experiments.kv_cache.cancellation import CANCELLATIONS
from trtbench.report.kit.blocks import Block, Paragraph, Table
from trtbench.report.kit.format import ms, number, percent, times, whole
from trtbench.report.kit.words import Words

_FIGURES: dict[str, tuple[Callable[[Survivors], float | None], Callable[[float | None], str]]] = {
    "tokens": (lambda s: s.tokens_per_s, number),
    "goodput": (lambda s: s.goodput, number),
    "ttft": (lambda s: s.ttft_ns.p50, ms),
    "ttft_p99": (lambda s: s.ttft_ns.p99, ms),
    "tpot": (lambda s: s.tpot_ns.p50, ms),
    "tpot_p99": (lambda s: s.tpot_ns.p99, ms),
    "p50": (lambda s: s.e2e_latency_ns.p50, ms),
    "p99": (lambda s: s.e2e_latency_ns.p99, ms),
}


def control_blocks(summary: Summary, words: Words) -> list[Block]:
    """A table for each stage that has a control; where cancels were audited and none has, why that is."""
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
    name: str, figure: Callable[[Survivors], float | None], text: Callable[[float | None], str], control: CancelControl, words: Words
) -> tuple[str, ...]:
    beside, without = figure(control.beside), figure(control.without)
    ratio = beside / without if beside is not None and without else None
    return (words(f"col.{name}"), text(beside), text(without), times(ratio))
