"""Findings on the load that a deployment carries: the knee, a rate that is too high, the SLO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from trtbench.analysis.deployment_result import curve_stages
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.knee import NONE, Knee, level_name
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings.rule import Case
from trtbench.analysis.verdict.verdict import Doubt

_RATE_KEPT_RATIO = 0.9
_SLO_KEPT_RATIO = 0.99
_LEAST_AGREEMENT = 0.9
"""The least share of resamples that must agree with a knee for it to be likely."""
_FELL_RATIO = 0.8


def knee(case: Case) -> Iterator[Finding]:
    """Three closed-loop levels or more show where throughput stops to grow, or that it still grows (docs/metrics.md)."""
    result = case.result
    knee = result.knee
    if knee is None:
        return
    counted = any(stage.throughput.output_token_throughput is not None for stage in result.stages)
    unit = "tokens" if counted else "requests"
    stages = curve_stages(result.stages)
    places = tuple((result.name, stage.span.name) for stage in stages)
    doubts = tuple(Doubt(result.name, name, code) for name, code in _knee_doubts(knee, stages))
    agreed: dict[str, float | str] = {} if knee.agreement is None else {"agreement_ratio": knee.agreement}
    last: dict[str, float | str] = {"unit": unit, "top_users": knee.levels[-1], f"top_{unit}_per_s": knee.throughputs[-1]}
    if knee.level is None or knee.throughput is None:
        step = {"last_users": knee.levels[-2], "gain_ratio": knee.throughputs[-1] / knee.throughputs[-2] - 1}
        yield Finding("no_knee", "info", result.name, figures={**last, **step, **agreed}, rests_on=places, doubts=doubts)
    else:
        at = {"knee_users": knee.level, f"knee_{unit}_per_s": knee.throughput, "gain_ratio": knee.throughputs[-1] / knee.throughput - 1}
        figures = {**last, **at, **agreed}
        yield Finding("knee", "info", result.name, limits=True, figures=figures, rests_on=places, doubts=doubts)


def _knee_doubts(knee: Knee, stages: Sequence[StageResult]) -> Iterator[tuple[str, str]]:
    """(Stage, code) of doubts by the curve itself: the level to which resampling moves the knee, and one whose throughput is far below that
    of fewer users, which a disturbance explains as well as the server does.
    """
    names = {stage.level: stage.span.name for stage in stages}
    if knee.shares and knee.agreement is not None and knee.agreement < _LEAST_AGREEMENT:
        others = {name: share for name, share in knee.shares.items() if name != (NONE if knee.level is None else level_name(knee.level))}
        moved = max(others, key=lambda name: others[name])
        yield names[knee.levels[-1] if moved == NONE else float(moved)], "knee_moves"
    for level, rate, before in zip(knee.levels[1:], knee.throughputs[1:], accumulate(knee.throughputs, max), strict=False):
        if rate < _FELL_RATIO * before:
            yield names[level], "rate_fell"


def rate_not_kept(case: Case, stage: StageResult) -> Finding | None:
    """In an open loop without a ramp under 90 % of the due requests are completed, and the median TTFT more than doubles."""
    rates = stage.throughput
    if stage.is_closed_loop or stage.ramp_from is not None or not stage.backlog_grew:
        return None
    if not rates.offered_rate or rates.request_throughput is None or rates.request_throughput >= _RATE_KEPT_RATIO * rates.offered_rate:
        return None
    figures = {"offered_per_s": rates.offered_rate, "served_per_s": rates.request_throughput}
    return Finding("rate_not_kept", "warning", limits=True, figures=figures)


def slo_missed(case: Case) -> Iterator[Finding]:
    """A stage has under 99 % of its planned requests within the SLO."""
    name = case.result.name
    judged = [(stage, ratio) for stage in case.result.stages if (ratio := stage.throughput.goodput_ratio) is not None]
    missed = [(stage, ratio) for stage, ratio in judged if ratio < _SLO_KEPT_RATIO]
    if not missed:
        return
    stage, ratio = min(missed, key=lambda pair: pair[1])
    kept = ", ".join(kept.span.name for kept, good in judged if good >= _SLO_KEPT_RATIO) or "-"
    figures: dict[str, float | str] = {"goodput_ratio": ratio, "kept": kept, "count": len(missed)}
    places = tuple((name, stage.span.name) for stage, _ in judged)
    yield Finding("slo_missed", "warning", name, stage.span.name, figures=figures, rests_on=places)
