"""How far a run may be trusted: VALID, SUSPECT or INVALID, with the reasons and their figures.

A reason of level `note` leaves a run VALID: something is not shown, but nothing shown is doubtful.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from trtbench.analysis.comparison import Comparison
from trtbench.analysis.deployments import DeploymentResult
from trtbench.analysis.percentile import PERMILLES, nearest_rank, needed_samples
from trtbench.analysis.stages import StageResult, is_disturbed
from trtbench.scenario import Scenario

Grade = Literal["note", "suspect", "invalid"]
_ORDER: tuple[Grade, ...] = ("note", "suspect", "invalid")

SEND_LAG_SUSPECT_NS, SEND_LAG_SUSPECT_RATIO = 5_000_000, 0.05
SEND_LAG_INVALID_NS, SEND_LAG_INVALID_RATIO = 50_000_000, 0.5
"""Bounds on the p99 of send lag: the larger of an absolute lag and a share of the median TTFT that it would distort."""
CLIENT_CORES_SUSPECT = 0.85
"""The load generator is one thread: near one core it stamps late."""
LOOP_LAG_SUSPECT_NS = 10_000_000
THROTTLED_RATIO = 0.01


@dataclass(frozen=True, slots=True)
class Reason:
    """`figures` are what the text in report/ may name; units are in their names."""

    code: str
    grade: Grade
    deployment: str = ""
    stage: str = ""
    figures: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The worst reason's grade, worst first."""

    status: Literal["VALID", "SUSPECT", "INVALID"]
    reasons: tuple[Reason, ...]


def verdict(reasons: Iterable[Reason]) -> Verdict:
    ordered = sorted(reasons, key=lambda reason: -_ORDER.index(reason.grade))
    worst = ordered[0].grade if ordered else "note"
    statuses: dict[Grade, Literal["VALID", "SUSPECT", "INVALID"]] = {"note": "VALID", "suspect": "SUSPECT", "invalid": "INVALID"}
    return Verdict(statuses[worst], tuple(ordered))


def run_reasons(
    complete: bool, interrupted: bool, results: Sequence[DeploymentResult], comparisons: Sequence[Comparison]
) -> Iterator[Reason]:
    """What holds of the run as a whole and of its deployments."""
    if interrupted:
        yield Reason("interrupted", "suspect")
    elif not complete:
        yield Reason("incomplete", "invalid")
    if not any(stage.conservation.completed for result in results for stage in result.stages):
        yield Reason("nothing_completed", "invalid")
    for result in results:
        if result.state == "never_ready":
            yield Reason("never_ready", "invalid", result.name)
        elif result.not_run and not interrupted:
            stages = [stage.name for stage in result.not_run]
            asked_for = all(stage.why == "error_bound" for stage in result.not_run)
            figures: dict[str, float | str] = {"stages": ", ".join(stages), "count": len(stages)}
            yield Reason("not_run", "note" if asked_for else "suspect", result.name, figures=figures)
    for pair in comparisons:
        if not pair.same_plan:
            yield Reason("plan_differs", "suspect", figures={"base": pair.base, "other": pair.other})


def stage_reasons(
    result: DeploymentResult, stage: StageResult, lags_ns: Sequence[int], scenario: Scenario, cpu_count: int
) -> Iterator[Reason]:
    """What holds of one stage; `lags_ns` are the raw send lags of its requests."""

    def reason(code: str, grade: Grade, **figures: float | str) -> Reason:
        return Reason(code, grade, result.name, stage.span.name, figures)

    equation = stage.conservation
    if stage.span.ended in ("server_lost", "broken_off"):
        yield reason(stage.span.ended, "invalid", completed=equation.completed, planned=equation.planned)
    elif stage.span.ended == "error_bound":
        yield reason("error_bound", "note", error_ratio=equation.error_ratio or 0.0)
    if not equation.holds and stage.span.ended != "broken_off":
        yield reason("equation", "invalid", planned=equation.planned, unrecorded=equation.unrecorded)
    if scenario.workload.ignore_eos and stage.wrong_length:
        yield reason("output_length", "suspect", count=stage.wrong_length, completed=equation.completed)
    if is_disturbed(stage, cpu_count):
        yield reason("foreign_load", "suspect", foreign_cpu_cores=stage.foreign_cpu_cores or 0.0, cpu_count=cpu_count)
    yield from _client_reasons(reason, stage, lags_ns)
    for label, gpu in stage.resources.gpus.items():
        if gpu.slowdown_ratio > THROTTLED_RATIO:
            yield reason("gpu_slowdown", "suspect", gpu=label, share_ratio=gpu.slowdown_ratio)
        if gpu.power_cap_ratio > THROTTLED_RATIO:
            yield reason("gpu_power_cap", "note", gpu=label, share_ratio=gpu.power_cap_ratio)


def _client_reasons(reason: Callable[..., Reason], stage: StageResult, lags_ns: Sequence[int]) -> Iterator[Reason]:
    ttft_ns = stage.latency.ttft_ns
    if lags_ns:
        # A bound, not a figure to print: the rule on sample counts does not apply, of few requests it is the worst.
        lag_ns, usual_ns = nearest_rank(np.sort(np.asarray(lags_ns)), PERMILLES["p99"]), ttft_ns.p50 or ttft_ns.mean or 0.0
        grade = _lag_grade(lag_ns, usual_ns)
        if grade:
            yield reason("send_lag", grade, send_lag_p99_ns=lag_ns, ttft_typical_ns=usual_ns, count=len(lags_ns))
    cores = stage.resources.client_cpu_cores
    if cores and cores.mean > CLIENT_CORES_SUSPECT:
        yield reason("client_cpu", "suspect", client_cpu_cores=cores.mean)
    loop_ns = stage.resources.client_loop_lag_p50_ns
    if loop_ns and loop_ns > LOOP_LAG_SUSPECT_NS:
        yield reason("loop_lag", "suspect", loop_lag_p50_ns=loop_ns)


def _lag_grade(lag_ns: float, usual_ns: float) -> Grade | None:
    if lag_ns > max(SEND_LAG_INVALID_NS, SEND_LAG_INVALID_RATIO * usual_ns):
        return "invalid"
    return "suspect" if lag_ns > max(SEND_LAG_SUSPECT_NS, SEND_LAG_SUSPECT_RATIO * usual_ns) else None


def sample_reasons(results: Sequence[DeploymentResult]) -> Iterator[Reason]:
    """Percentiles that are withheld: P99 is a note, a median that cannot be shown is a doubt."""
    stages = [stage for result in results for stage in result.stages]
    few = [stage for stage in stages if stage.latency.e2e_latency_ns.p99 is None]
    if few:
        most = max(stage.latency.e2e_latency_ns.count for stage in few)
        needed = needed_samples(PERMILLES["p99"])
        yield Reason("few_for_p99", "note", figures={"count": len(few), "stages": len(stages), "needed": needed, "most": most})
    needed = needed_samples(PERMILLES["p50"])
    for result in results:
        few_of = {s.span.name: n for s in result.stages if (n := s.latency.e2e_latency_ns.count) < needed}
        if few_of:
            listed = ", ".join(f"{name} ({count})" for name, count in few_of.items())
            yield Reason("few_samples", "suspect", result.name, figures={"stages": listed, "needed": needed})
