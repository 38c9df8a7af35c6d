"""Reasons for doubt in a run: what is missing, what does not add up, what disturbed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from trtbench.analysis.deployments import DeploymentResult
from trtbench.analysis.stage.stage import StageResult, is_disturbed
from trtbench.analysis.stats.percentile import PERMILLES, needed_samples
from trtbench.analysis.verdict.client_validity import client_reasons
from trtbench.analysis.verdict.gpu_health import HeldGpu, clock_reasons, health_reasons, held_reasons, mig_reasons
from trtbench.analysis.verdict.verdict import Grade, Reason
from trtbench.experiments.context_limit.analysis import ContextLimits
from trtbench.experiments.precision.analysis import Comparison
from trtbench.rundir.records import Event, Outcome
from trtbench.rundir.sessions import Resumption
from trtbench.scenario.scenario import Scenario

THROTTLED_RATIO = 0.01
"""Share of readings with a lowered clock."""


def run_reasons(
    complete: bool, interrupted: bool, results: Sequence[DeploymentResult], comparisons: Sequence[Comparison]
) -> Iterator[Reason]:
    """What holds of the run as a whole and of its deployments."""
    if interrupted:
        yield Reason("interrupted", "suspect")
    elif not complete:
        yield Reason("incomplete", "invalid")
    searched = [result.context_limits for result in results if result.context_limits]
    if not any(stage.conservation.completed for result in results for stage in result.stages) and not any(s.limits for s in searched):
        yield Reason("nothing_completed", "invalid")
    for result in results:
        if result.state == "never_ready":
            yield Reason("never_ready", "invalid", result.name)
        elif result.context_limits and not interrupted:
            yield from limit_reasons(result.name, result.context_limits)
        elif result.not_run and not interrupted:
            stages = [stage.name for stage in result.not_run]
            asked_for = all(stage.why == "error_bound" for stage in result.not_run)
            figures: dict[str, float | str] = {"stages": ", ".join(stages), "count": len(stages)}
            yield Reason("not_run", "note" if asked_for else "suspect", result.name, figures=figures)
    for pair in comparisons:
        if not pair.same_plan:
            yield Reason("plan_differs", "suspect", figures={"base": pair.base, "other": pair.other})


def resume_reasons(resumed: Sequence[Resumption]) -> Iterator[Reason]:
    """That a run was broken off and went on later is no doubt, but who compares deployments over the gap should know."""
    for one in resumed:
        yield Reason("resumed", "note", figures={"gap_s": one.gap_s, "count": len(one.again), "again": ", ".join(one.again) or "-"})


def limit_reasons(deployment: str, limits: ContextLimits) -> Iterator[Reason]:
    """What makes a context limit doubtful: a search cut short, further tries that said something else, a server that did not recover."""
    short = limits.memory_short
    if short:
        figures = {"limit_bytes": short.limit_bytes, "available_bytes": short.available_bytes}
        yield Reason(f"limit_memory_{short.kind}", "suspect", deployment, figures=figures)
    elif limits.ended != "done":
        yield Reason("limit_cut_short", "suspect", deployment, figures={"why": limits.ended})
    for limit in limits.limits:
        where = {"users": limit.users, "count": limit.refuted}
        if limit.refuted:
            yield Reason("limit_refuted", "suspect", deployment, figures=where)


def stage_reasons(result: DeploymentResult, stage: StageResult, scenario: Scenario, cpu_count: int) -> Iterator[Reason]:
    """What holds of one stage."""

    def reason(code: str, grade: Grade, **figures: float | str) -> Reason:
        return Reason(code, grade, result.name, stage.span.name, figures)

    equation = stage.conservation
    if stage.span.ended in ("server_lost", "broken_off"):
        yield reason(stage.span.ended, "invalid", completed=equation.completed, planned=equation.planned)
    elif stage.span.ended == "error_bound":
        yield reason("error_bound", "note", error_ratio=equation.error_ratio or 0.0)
    if not equation.holds and stage.span.ended != "broken_off":
        yield reason("equation", "invalid", planned=equation.planned, unrecorded=equation.unrecorded)
    yield from _output_reasons(reason, stage, scenario.workload.ignore_eos)
    if stage.is_closed_loop and not stage.reaches_level:
        yield reason("level_not_reached", "suspect", asked_users=stage.span.asked, reached_users=stage.level)
    if is_disturbed(stage, cpu_count):
        yield reason("foreign_load", "suspect", foreign_cpu_cores=stage.foreign_cpu_cores or 0.0, cpu_count=cpu_count)
    yield from client_reasons(reason, stage)
    asked = next((one for one in scenario.load_of(result.name) if one.label == stage.span.name), None)
    if asked and asked.max_in_flight and asked.mode != "trace":
        offered = stage.throughput.offered_rate or 0.0
        grade: Grade = "note" if stage.reaches_level else "suspect"
        yield reason("in_flight_bound", grade, most=asked.max_in_flight, offered_rate=offered, asked_rate=asked.level)
    for label, gpu in stage.resources.gpus.items():
        for why, ratio in gpu.throttle_ratios.items():
            if ratio > THROTTLED_RATIO:
                yield reason(f"gpu_{why}", "note" if why == "power_cap" else "suspect", gpu=label, share_ratio=ratio)


def _output_reasons(reason: Callable[..., Reason], stage: StageResult, ignore_eos: bool) -> Iterator[Reason]:
    """What came, held against what was asked."""
    equation = stage.conservation
    if empty := equation.failed_by_class.get(Outcome.EMPTY.value):
        yield reason("output_empty", "suspect", count=empty, planned=equation.planned, share_ratio=empty / equation.planned)
    if ignore_eos and stage.wrong_length:
        yield reason("output_length", "suspect", count=stage.wrong_length, completed=equation.completed)
    if ignore_eos and stage.estimated_off:
        yield reason("output_length_estimated", "suspect", count=stage.estimated_off, completed=equation.completed)
    if not ignore_eos and stage.over_length:
        yield reason("output_beyond", "suspect", count=stage.over_length, completed=equation.completed)
    if not ignore_eos and (short := stage.wrong_length - stage.over_length):
        yield reason("output_short", "note", count=short, completed=equation.completed)


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
            yield Reason("few_samples", "suspect", result.name, figures={"stages": listed, "needed": needed}, stages=tuple(few_of))


def gpu_reasons(results: Sequence[DeploymentResult], events: Sequence[Event], held: Sequence[HeldGpu]) -> Iterator[Reason]:
    """`events`: those of the attempts that count."""
    for result in results:
        yield from health_reasons(result.name, result.gpu_health, [event for event in events if event.deployment == result.name])
        yield from mig_reasons(result.name, result.stages)
        for stage in result.stages:
            yield from clock_reasons(result.name, stage, held)
    yield from held_reasons(held)
