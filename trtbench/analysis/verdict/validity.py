"""Reasons to doubt a run: missing data, sums that do not add up, disturbances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.experiment_analysis import ExperimentAnalysis, MeasuredRun
from trtbench.analysis.found import Found
from trtbench.analysis.stage.stage_result import StageResult, is_disturbed
from trtbench.analysis.stats.percentile import PERMILLES, needed_samples
from trtbench.analysis.stats.steadiness import Steadiness
from trtbench.analysis.verdict.client_validity import client_reasons
from trtbench.analysis.verdict.gpu_health import HeldGpu, clock_reasons, health_reasons, held_reasons, mig_reasons
from trtbench.analysis.verdict.verdict import Grade, Reason
from trtbench.experiments.registry import roles
from trtbench.rundir.event_kinds import DeploymentFinished, DeploymentStarted
from trtbench.rundir.events import times_ns
from trtbench.rundir.lines import Loss
from trtbench.rundir.records import Event, Outcome
from trtbench.rundir.requests import MISSING, Requests
from trtbench.rundir.samples import Samples
from trtbench.rundir.sessions import Resumption
from trtbench.scenario.scenario import Scenario
from trtbench.tasks.registry import TASKS

THROTTLED_RATIO = 0.01
"""The allowed share of readings with a lowered clock."""


def run_reasons(complete: bool, run: MeasuredRun, found: Found) -> Iterator[Reason]:
    """Reasons about the run as a whole and about each deployment. `found`: the experiments' results for the run."""
    if run.interrupted:
        yield Reason("interrupted", "suspect")
    elif not complete:
        yield Reason("incomplete", "invalid")
    experiments = tuple(roles(ExperimentAnalysis))
    if not any(_has_answer(result, experiments) for result in run.results):
        yield Reason("nothing_completed", "invalid")
    for result in run.results:
        if result.state == "never_ready":
            yield Reason("never_ready", "invalid", result.name)
        elif result.not_run and not run.interrupted:
            stages = [stage.name for stage in result.not_run]
            asked_for = all(stage.why == "error_bound" for stage in result.not_run)
            figures: dict[str, float | str] = {"stages": ", ".join(stages), "count": len(stages)}
            yield Reason("not_run", "note" if asked_for else "suspect", result.name, figures=figures)
    for role in experiments:
        yield from role.run_reasons(run, found)


def _has_answer(result: DeploymentResult, experiments: Sequence[ExperimentAnalysis]) -> bool:
    return any(stage.conservation.completed for stage in result.stages) or any(role.has_answer(result) for role in experiments)


def resume_reasons(resumed: Sequence[Resumption]) -> Iterator[Reason]:
    """A note that the run was interrupted and resumed. Its result is valid, but a comparison of deployments across the interruption needs
    to know of it.
    """
    for one in resumed:
        yield Reason("resumed", "note", figures={"gap_s": one.gap_s, "count": len(one.again), "again": ", ".join(one.again) or "-"})


def stage_reasons(result: DeploymentResult, stage: StageResult, scenario: Scenario, cpu_count: int) -> Iterator[Reason]:
    """Reasons about one stage."""

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
    if (course := stage.uncertainty.steadiness) and course.changed:
        yield reason(f"unsteady_{course.kind}", "note", **_course(course))
    yield from client_reasons(reason, stage)
    asked = next((one for one in scenario.load_of(result.name) if one.label == stage.span.name), None)
    if asked and asked.max_in_flight and asked.mode != "trace":
        yield _bound_reason(reason, stage, asked.max_in_flight, asked.level)
    for label, gpu in stage.resources.gpus.items():
        for why, ratio in gpu.throttle_ratios.items():
            if ratio > THROTTLED_RATIO:
                yield reason(f"gpu_{why}", "note" if why == "power_cap" else "suspect", gpu=label, share_ratio=ratio)


def _course(course: Steadiness) -> dict[str, float | str]:
    figures = {"gain_ratio": course.change_ratio, "lower_ratio": course.lower, "upper_ratio": course.upper, "at_ratio": course.at}
    return {name: value for name, value in figures.items() if value is not None}


def _bound_reason(reason: Callable[..., Reason], stage: StageResult, most: int, asked_rate: float) -> Reason:
    """How much max_in_flight held back. In runs of earlier versions a request became due when its wait was over, and none is recorded."""
    grade: Grade = "note" if stage.reaches_level else "suspect"
    sent = stage.sending
    if not sent.waited:
        return reason("in_flight_bound", grade, most=most, offered_rate=stage.throughput.offered_rate or 0.0, asked_rate=asked_rate)
    waits = {"count": sent.waited, "planned": stage.conservation.planned, "wait_ns": sent.wait_mean_ns, "longest_ns": sent.wait_max_ns}
    return reason("in_flight_wait", grade, most=most, admitted_rate=stage.level_reached or 0.0, asked_rate=asked_rate, **waits)


def _output_reasons(reason: Callable[..., Reason], stage: StageResult, ignore_eos: bool) -> Iterator[Reason]:
    """Reasons from comparing the outputs with the requested ones."""
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
    """Reasons about percentiles that are not shown: a note for a missing P99, a doubt for a missing median."""
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
    """Reasons about the GPUs. `events`: those of the attempts whose results count."""
    for result in results:
        yield from health_reasons(result.name, result.gpu_health, [event for event in events if event.deployment == result.name])
        yield from mig_reasons(result.name, result.stages)
        for stage in result.stages:
            yield from clock_reasons(result.name, stage, held)
    yield from held_reasons(held)


def reported_reasons(result: DeploymentResult, scenario: Scenario) -> Iterator[Reason]:
    """Reasons about one deployment that follow from what its server reported, or did not report."""
    tokens = result.facts.tokens
    counting = result.counting
    if counting.unknown:
        yield Reason("tokens_unknown", "invalid", result.name, figures={"family": str(tokens.get("family"))})
    checked: dict[str, float | str] = {
        "compared": counting.compared,
        "error_ratio": "-" if counting.error_ratio is None else counting.error_ratio,
    }
    if counting.estimated:
        most = "-" if counting.uncertain_ratio is None else counting.uncertain_ratio
        grade: Grade = "note" if counting.is_sure else "suspect"
        yield Reason("tokens_estimated", grade, result.name, figures={"count": counting.estimated, "uncertain_ratio": most, **checked})
    if counting.by_length:
        yield Reason("tokens_by_length", "note", result.name, figures={"count": counting.by_length, **checked})
    if difference := counting.input_difference:
        yield Reason("input_differs", "note", result.name, figures=asdict(difference))
    if tokens.get("input_counts") == "tokenizer":
        yield Reason("input_by_tokenizer", "note", result.name)
    if scenario.workload.ignore_eos and tokens.get("forces_length") is False:
        yield Reason("length_not_forced", "note", result.name)
    if result.echoed:
        yield Reason("prompt_echoed", "note", result.name, figures={"count": result.echoed})
    if result.tokens_beyond_ours:
        yield Reason("tokens_differ", "suspect", result.name, figures={"tokens": result.tokens_beyond_ours})
    if result.stale_pages:
        yield Reason("stale_gauges", "note", result.name, figures={"count": result.stale_pages})
    if result.missing_metrics and result.stages and TASKS[scenario.task].batches_in_flight:
        code = "metrics_unreadable" if result.page_fault else "metrics_missing" if result.reads_metrics else "metrics_not_read"
        fault = {"error": result.page_fault} if result.page_fault else {}
        yield Reason(code, "note", result.name, figures={"families": ", ".join(result.missing_metrics), **fault})


_GRADES: dict[str, Grade] = {
    "missing": "invalid",
    "unreadable": "invalid",
    "lines": "suspect",
    "torn": "suspect",
    "rows": "suspect",
    "values": "suspect",
    "events": "suspect",
    "columns": "suspect",
    "foreign": "invalid",
    "foreign_samples": "suspect",
}
_NEEDED = ("events.jsonl", "requests", "deployment.json")
"""The files on which figures are based. Without another file, the report only has fewer figures."""


def damage_reasons(losses: Iterable[Loss], complete: bool) -> Iterator[Reason]:
    """A reason for each file and kind of loss. An incomplete last line is normal after a kill, which the report states already."""
    for loss in losses:
        directory, _, name = loss.file.rpartition("/")
        grade = _GRADES[loss.what]
        if grade == "invalid" and not name.startswith(_NEEDED):
            grade = "note"
        figures: dict[str, float | str] = {"file": loss.file, "count": loss.count, "why": loss.why or "-"}
        if loss.what != "torn" or complete:
            yield Reason(f"damaged_{loss.what}", grade, directory.split("/")[0], figures=figures)


def foreign_records(requests: Requests, samples: Samples, events: Sequence[Event]) -> tuple[int, int]:
    """Numbers of requests and samples that are from before the deployment began or after it ended, and so belong to another deployment.

    `events` are those of this deployment. An unfinished deployment has none.
    """
    started, finished = times_ns(events, DeploymentStarted), times_ns(events, DeploymentFinished)
    if not started or not finished:
        return 0, 0
    start_ns, end_ns = started[-1], finished[-1]
    sent = requests.sent_ns[requests.sent_ns != MISSING]
    return int(((sent < start_ns) | (sent > end_ns)).sum()), samples.outside(start_ns, end_ns)
