"""A comparison as plain JSON (docs/compare.md lists the keys), in the units of summary.json: ns, shares, bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from trtbench.analysis.summary import Summary
from trtbench.compare.compared_runs import Comparison
from trtbench.compare.decision import Decision, outcome_of
from trtbench.compare.difference import Difference
from trtbench.compare.interval import Interval
from trtbench.report.comparison.comparison_rows import family_of

COMPARISON_VERSION = 1


def comparison_json(compared: Sequence[Comparison], decisions: Sequence[Decision], threshold_ratio: float) -> dict[str, Any]:
    """Everything that the tables show, and the intervals in full precision."""
    return {
        "comparison_version": COMPARISON_VERSION,
        "outcome": outcome_of(decisions) if decisions else None,
        "threshold_ratio": threshold_ratio,
        "base": _run(compared[0].base),
        "candidates": [_candidate(one, threshold_ratio) for one in compared],
        "gates": [_gate(one) for one in decisions],
    }


def _run(summary: Summary) -> dict[str, Any]:
    return {"run": summary.run, "started_utc": summary.started_utc, "verdict": summary.verdict.status}


def _candidate(one: Comparison, threshold_ratio: float) -> dict[str, Any]:
    return _run(one.candidate) | {
        "comparable": not one.refusals,
        "differs_in": [asdict(fact) for fact in one.of_runs],
        "unpaired": list(one.unpaired),
        "differences": [_difference(difference, threshold_ratio, family_of(one)) for difference in one.differences],
    }


def _difference(one: Difference, threshold_ratio: float, family: int) -> dict[str, Any]:
    return {
        "deployment": one.deployment,
        "stage": one.stage,
        "metric": one.metric.name,
        "unit": "ns" if one.metric.unit == "ms" else one.metric.unit,
        "base": one.base,
        "candidate": one.candidate,
        "change_ratio": one.change_ratio,
        "change_interval": _bounds(one.change),
        "amount_interval": _bounds(one.amount),
        "candidate_interval": _bounds(one.own),
        "call": one.call(threshold_ratio, family),
        "rounds": one.rounds,
        "lacking": one.lacking,
    }


def _gate(one: Decision) -> dict[str, Any]:
    where = one.difference
    return {
        "gate": one.gate.text,
        "metric": one.gate.metric.name,
        "candidate": where.candidate_run if where else None,
        "deployment": where.deployment if where else None,
        "stage": where.stage if where else None,
        "outcome": one.outcome,
        "value": one.value,
        "limit": one.gate.limit,
        "bounds": list(one.bounds) if one.bounds else None,
        "more_requests": one.more_requests,
        "more_rounds": one.more_rounds,
        "why": one.why,
    }


def _bounds(interval: Interval | None) -> list[float] | None:
    return list(interval.bounds()) if interval else None
