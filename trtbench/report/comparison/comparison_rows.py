"""The rows of a comparison's tables, which the console, Markdown and HTML share."""

from __future__ import annotations

from collections.abc import Sequence

from trtbench.compare.compared_runs import Comparison
from trtbench.compare.decision import Decision
from trtbench.compare.difference import Difference
from trtbench.report.kit.columns import FORMATS
from trtbench.report.kit.format import NONE, number, percent
from trtbench.report.kit.words import Words

HEADER = ("deployment", "stage", "compared_metric", "compared_base", "compared_candidate", "compared_difference", "compared_interval")
GATE_HEADER = ("gate", "gate_where", "gate_outcome", "gate_value", "gate_bounds", "gate_why")


def difference_rows(comparison: Comparison, threshold_ratio: float, words: Words) -> list[tuple[str, ...]]:
    """A row for each metric of each pair of stages."""
    family = family_of(comparison)
    return [
        (
            *(one.deployment, one.stage, metric_label(one)),
            *(shown_value(one, one.base), shown_value(one, one.candidate), shown_difference(one)),
            *(shown_interval(one), call_of(one, threshold_ratio, family, words)),
        )
        for one in comparison.differences
        if one.base is not None or one.candidate is not None or one.lacking
    ]


def family_of(comparison: Comparison) -> int:
    """The number of differences that have an interval, which share the probability of a wrong call."""
    return max(1, sum(one.interval is not None for one in comparison.differences))


def gate_rows(decisions: Sequence[Decision], words: Words) -> list[tuple[str, ...]]:
    return [
        (
            *(one.gate.text, where_of(one.difference), words(f"compare.outcome.{one.outcome}")),
            *(gate_value(one, one.value), gate_bounds(one), why_of(one, words)),
        )
        for one in decisions
    ]


def where_of(one: Difference | None) -> str:
    return f"{one.deployment} {one.stage}" if one else NONE


def call_of(one: Difference, threshold_ratio: float, family: int, words: Words) -> str:
    call = one.call(threshold_ratio, family)
    return words("compare.call.lacking", count=one.lacking) if call == "absent" and one.lacking else words(f"compare.call.{call}")


def why_of(one: Decision, words: Words) -> str:
    """Why a gate is undecided, with the data that would decide it; "" if it is decided."""
    if not one.why:
        return ""
    if one.more_rounds:
        return words("compare.why.wide_rounds", count=one.more_rounds)
    if one.why == "wide" and one.more_requests:
        return words("compare.why.wide_requests", count=one.more_requests)
    return words(f"compare.why.{one.why}", count=one.more_requests)


def metric_label(one: Difference) -> str:
    unit = one.metric.unit
    return f"{one.metric.name}, {unit}" if unit not in ("", "ratio", "count", "bytes") else one.metric.name


def shown_value(one: Difference, value: float | None) -> str:
    return FORMATS.get(one.metric.unit, number)(value)


def shown_difference(one: Difference) -> str:
    """The change as a percentage, or the difference of two shares in percentage points."""
    if one.base is None or one.candidate is None:
        return NONE
    return signed_percent(one.change_ratio) if one.relative else signed_points(one.candidate - one.base)


def shown_interval(one: Difference) -> str:
    shown = signed_percent if one.relative else signed_points
    return " … ".join(map(shown, one.interval.bounds())) if one.interval else NONE


def gate_value(one: Decision, value: float | None) -> str:
    """A value in the unit of the gate's limit."""
    if value is None or one.difference is None:
        return NONE
    if one.gate.kind == "change":
        return signed_percent(value)
    if one.gate.kind == "amount":
        return signed_points(value) if one.gate.metric.unit == "ratio" else ("+" if value > 0 else "") + shown_value(one.difference, value)
    return shown_value(one.difference, value)


def gate_bounds(one: Decision) -> str:
    return " … ".join(gate_value(one, bound) for bound in one.bounds) if one.bounds else NONE


def signed_percent(ratio: float | None) -> str:
    return ("+" if ratio and ratio > 0 else "") + percent(ratio)


def signed_points(share: float) -> str:
    return f"{100 * share:+.2f} pp"
