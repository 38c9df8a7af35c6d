"""Measures a deployment from its records."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Literal

from trtbench.analysis.deployment_result import DeploymentResult, NotRun, throughput_curve
from trtbench.analysis.experiment_analysis import DeploymentRecords, ExperimentAnalysis
from trtbench.analysis.facts import DeploymentFacts
from trtbench.analysis.found import Found
from trtbench.analysis.loader import RecordedDeployment
from trtbench.analysis.stage.engine_metrics import missing_families, tokens_beyond_ours, without_stale
from trtbench.analysis.stage.kv_cache import Residency, blocks_left
from trtbench.analysis.stage.late_counts import without_late_counts
from trtbench.analysis.stage.outcomes import conservation
from trtbench.analysis.stage.stage_result import StageResult, measure, stage_spans
from trtbench.analysis.stage.token_counting import with_counts
from trtbench.analysis.stats.knee import find_knee
from trtbench.analysis.stats.usl import fit_user_law
from trtbench.analysis.stats.window import gpu_memory
from trtbench.analysis.timeline import Curve, timeline
from trtbench.analysis.transport import transports
from trtbench.analysis.verdict.gpu_health import gpu_health
from trtbench.analysis.verdict.validity import foreign_records
from trtbench.experiments.registry import roles
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import DeploymentFinished, LoadStopped, ServerFault, ServerLost, ServerReady, TelemetryFinished
from trtbench.rundir.events import first, times_ns
from trtbench.rundir.records import Event
from trtbench.rundir.requests import MISSING, Requests
from trtbench.rundir.samples import Samples, Series
from trtbench.rundir.sessions import current
from trtbench.scenario.scenario import Scenario
from trtbench.system.foreign_text import shown

_NS_PER_MS = 1_000_000


def deployment_result(recorded: RecordedDeployment, events: Sequence[Event], scenario: Scenario, cpu_count: int) -> DeploymentResult:
    """The result of one deployment. `events` are those of this deployment."""
    requests, counting = with_counts(recorded.requests)
    facts, read = recorded.facts, without_late_counts(recorded.samples, events)
    samples, stale_pages = (read, 0) if facts.traits.gauges_valid_at_rest else without_stale(read, requests)
    records = _with_stages(recorded, requests, samples, events, scenario, cpu_count)
    stages = records.stages
    if stages:
        _note_losses(recorded, read, events)
    ready, fault, telemetry = first(events, ServerReady), first(events, ServerFault), first(events, TelemetryFinished)
    return DeploymentResult(
        name=recorded.name,
        facts=facts,
        state=_state(events, bool(stages)),
        ready_s=ready.seconds if ready else facts.load_s,
        stages=stages,
        not_run=_not_run(stages, requests, events, scenario),
        server_lost=first(events, ServerLost),
        kv_blocks_left=_blocks_left(samples, stages, requests, facts, scenario.telemetry.interval_ms * _NS_PER_MS),
        rss_peak_bytes=_peak(samples.series("server_rss_bytes")),
        gpu_memory_peak_bytes=_peak(gpu_memory(samples)),
        knee=find_knee(throughput_curve(stages)),
        user_law=fit_user_law([(point.level, point.rate) for point in throughput_curve(stages)]),
        kv_used_blocks=Curve.of(samples.series("kv_blocks_used")),
        running=Curve.of(samples.series("inflight_scheduled_requests")),
        waiting=Curve.of(samples.series("inflight_waiting_requests")),
        timeline=timeline(samples, requests),
        transports=transports(events),
        found=reduce(or_, (role.of_deployment(records) for role in roles(ExperimentAnalysis)), Found()),
        gpu_health=gpu_health(samples),
        not_told=_not_told(events),
        counting=counting,
        echoed=int((requests.echoed_tokens > 0).sum()),
        stale_pages=stale_pages,
        missing_metrics=missing_families(read),
        tokens_beyond_ours=_tokens_beyond_ours(samples, recorded.requests, scenario),
        reads_metrics=telemetry is None or "triton_metrics" in telemetry.sources,
        page_fault=page_fault(events),
        server_fault=fault.cause if fault else None,
    )


def result_so_far(run: RunDirectory, name: str, scenario: Scenario) -> DeploymentResult:
    """The result of the deployment directory `name` while the run continues, by which a run decides what it does next."""
    events = [event for event in current(run.events()) if event.deployment == name]
    return deployment_result(RecordedDeployment(run.deployment(name)), events, scenario, run.environment().cpu_count)


def _note_losses(recorded: RecordedDeployment, samples: Samples, events: Sequence[Event]) -> None:
    recorded.note_missing()
    recorded.note_foreign(*foreign_records(recorded.requests, samples, events))


def _with_stages(
    recorded: RecordedDeployment, requests: Requests, samples: Samples, events: Sequence[Event], scenario: Scenario, cpu_count: int
) -> DeploymentRecords:
    facts, residency = recorded.facts, Residency(requests, samples.series("kv_blocks_used")[0])
    served_apart = [one.name for one in facts.length_classes if one.model]
    of_classes = {name: without_late_counts(recorded.samples.of_length_class(name), events) for name in served_apart}
    stages = tuple(
        measure(span, requests.stage(span.name), samples, residency, facts, scenario, cpu_count, of_classes)
        for span in stage_spans(events, requests)
    )
    return DeploymentRecords(events, requests, samples, stages, residency, facts, scenario, cpu_count, recorded.prompts)


def _not_run(stages: Sequence[StageResult], requests: Requests, events: Sequence[Event], scenario: Scenario) -> tuple[NotRun, ...]:
    """The stages of the scenario that have no measured phase."""
    opened = {stage.span.name for stage in stages}
    stopped = first(events, LoadStopped)
    left = {stage.label: requests.stage(stage.label) for stage in scenario.load if stage.label not in opened}
    return tuple(NotRun(name, stopped.why if stopped else "", conservation(planned, len(planned))) for name, planned in left.items())


def _tokens_beyond_ours(samples: Samples, requests: Requests, scenario: Scenario) -> int | None:
    """The output tokens that the server counts minus those received, or None if an experiment makes the server lose its counts."""
    forgets = any(role.resets_counters(scenario) for role in roles(ExperimentAnalysis))
    return None if forgets else tokens_beyond_ours(samples, requests, 2 * scenario.telemetry.interval_ms * _NS_PER_MS)


def _state(events: Sequence[Event], has_stages: bool) -> Literal["finished", "broken_off", "never_ready"]:
    if not has_stages and not times_ns(events, ServerReady):
        return "never_ready"
    return "finished" if times_ns(events, DeploymentFinished) else "broken_off"


def page_fault(events: Sequence[Event]) -> str:
    """The reason why most readings of the metrics page failed; "" if they succeeded, or if the page was not requested."""
    telemetry = first(events, TelemetryFinished)
    tally = telemetry.sources.get("triton_metrics") if telemetry else None
    return shown(tally.last_error or "no answer") if tally and tally.failures >= max(tally.readings, 1) else ""


def _not_told(events: Sequence[Event]) -> tuple[str, ...]:
    """The sampler's notes, by source."""
    telemetry = first(events, TelemetryFinished)
    return tuple(tally.note for tally in telemetry.sources.values() if tally.note) if telemetry else ()


def _blocks_left(
    samples: Samples, stages: Sequence[StageResult], requests: Requests, facts: DeploymentFacts, interval_ns: int
) -> int | None:
    """The KV blocks in use after the last request, or None if the gauge is not valid at rest or may count cached blocks.

    Gauges lag behind the last answer, so the reading must be at least two sampling intervals later. A server that the run started had no
    blocks in use before its first reading.
    """
    ends = requests.done_ns[requests.done_ns != MISSING]
    if (
        not stages
        or not len(ends)
        or not facts.traits.gauges_valid_at_rest
        or facts.counts_cached_blocks
        or stages[-1].span.ended not in ("done", "steady")
    ):
        return None
    first_ns = int(requests.due_ns.min())
    return blocks_left(samples, int(ends.max()) + 2 * interval_ns, first_ns, 0 if facts.mode == "own" else None)


def _peak(series: Series) -> float | None:
    return float(series[1].max()) if len(series[1]) else None
