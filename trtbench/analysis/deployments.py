"""One engine on one deployment, all stages together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trtbench.analysis.facts import DeploymentFacts, deployment_facts
from trtbench.analysis.stage.engine_gauges import missing_families, tokens_beyond_ours, without_stale
from trtbench.analysis.stage.kv_cache import Residency, blocks_left
from trtbench.analysis.stage.outcomes import Conservation, conservation
from trtbench.analysis.stage.stage import StageResult, by_stage, measure, stage_spans, without_late_counts
from trtbench.analysis.stage.throughput import main_rate
from trtbench.analysis.stage.token_counting import TokenCounting, with_counts
from trtbench.analysis.stats.knee import Knee, find_knee
from trtbench.analysis.stats.window import gpu_memory
from trtbench.analysis.timeline import Curve, Timeline, timeline
from trtbench.analysis.transport import Transport, transports
from trtbench.analysis.verdict.damage import note_foreign
from trtbench.analysis.verdict.gpu_health import GpuHealth, gpu_health
from trtbench.experiments.context_limit.analysis import ContextLimits, context_limits
from trtbench.experiments.hot_reload.analysis import Reloads, reloads
from trtbench.experiments.kv_cache.cancel_control import CancelControl, cancel_controls
from trtbench.experiments.kv_cache.cancellation import Cancellation, cancellation
from trtbench.experiments.kv_cache.pressure import KvCapacity, KvPressure, kv_capacity, kv_pressure
from trtbench.experiments.response_cache.analysis import CachedStage, cached_stage, find_repeats, read_prompts
from trtbench.rundir import MISSING, DeploymentDirectory, Requests, Samples, Series
from trtbench.rundir.records import Event
from trtbench.scenario.scenario import Scenario
from trtbench.system.foreign_text import shown

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class NotRun:
    """A stage whose measured phase was never opened; `why` is interrupted, error_bound, server_lost, or "" if nothing tells."""

    name: str
    why: str
    conservation: Conservation


@dataclass(frozen=True, slots=True)
class DeploymentResult:
    """`server_lost` is that event's data; `server_fault`: what struck a server that stayed up.

    `kv_blocks_left`: KV blocks in use after the drain beyond those before the load.
    """

    name: str
    facts: DeploymentFacts
    state: Literal["finished", "broken_off", "never_ready"]
    ready_s: float | None
    stages: tuple[StageResult, ...]
    not_run: tuple[NotRun, ...]
    server_lost: dict[str, Any] | None
    kv_blocks_left: int | None
    rss_peak_bytes: float | None
    gpu_memory_peak_bytes: float | None  # all GPUs added
    knee: Knee | None
    kv_used_blocks: Curve
    running: Curve
    waiting: Curve
    timeline: Timeline
    transports: tuple[Transport, ...]
    context_limits: ContextLimits | None = None
    reloads: Reloads | None = None
    kv_pressures: tuple[KvPressure, ...] = ()
    kv_capacity: KvCapacity | None = None
    cancellations: tuple[Cancellation, ...] = ()
    cancel_controls: tuple[CancelControl, ...] = ()
    gpu_health: Mapping[str, GpuHealth] = field(default_factory=dict)
    not_told: tuple[str, ...] = ()  # series that a GPU does not have
    server_fault: str | None = None
    echoed: int = 0  # requests whose prompt came before the output
    stale_pages: int = 0  # pages of metrics whose gauges were those of an engine at rest
    missing_metrics: tuple[str, ...] = ()  # families of the engine's metrics that no page had
    reads_metrics: bool = True  # whether a page was asked for
    page_fault: str = ""  # why most readings of a page that was asked for failed
    tokens_beyond_ours: int | None = None  # output tokens by the server's count less those that arrived
    cached_stages: tuple[CachedStage, ...] = ()  # none without a response cache
    counting: TokenCounting = field(default_factory=TokenCounting)  # of what the server did not count

    def stage(self, name: str) -> StageResult | None:
        return next((stage for stage in self.stages if stage.span.name == name), None)


def deployment_result(
    directory: DeploymentDirectory, requests: Requests, events: Sequence[Event], scenario: Scenario, cpu_count: int
) -> DeploymentResult:
    """`events` are this deployment's own."""
    recorded, (requests, counting) = requests, with_counts(requests)
    facts = deployment_facts(directory.name, directory.read_facts("deployment.json"), directory.read_facts("engine.json"))
    samples = read = without_late_counts(directory.samples(), events)
    missing_metrics, stale_pages = missing_families(samples), 0
    if not facts.traits.gauges_valid_at_rest:
        samples, stale_pages = without_stale(samples, requests)
    residency = Residency(requests, samples.series("kv_blocks_used")[0])
    stages = tuple(
        measure(span, requests.stage(span.name), samples, residency, facts, scenario, cpu_count) for span in stage_spans(events, requests)
    )
    if stages:
        note_foreign(directory, recorded, read, events)
    ready = _data_of(events, "server_ready")
    pressures = _pressures(stages, requests, samples, facts)
    return DeploymentResult(
        name=directory.name,
        facts=facts,
        state=_state(events, bool(stages)),
        ready_s=ready.get("seconds") if ready else facts.load_s,
        stages=stages,
        not_run=_not_run(stages, requests, events, scenario),
        server_lost=_data_of(events, "server_lost"),
        kv_blocks_left=_blocks_left(samples, stages, requests, facts, scenario.telemetry.interval_ms * _NS_PER_MS),
        rss_peak_bytes=_peak(samples.series("server_rss_bytes")),
        gpu_memory_peak_bytes=_peak(gpu_memory(samples)),
        knee=find_knee(throughput_curve(stages)),
        kv_used_blocks=Curve.of(samples.series("kv_blocks_used")),
        running=Curve.of(samples.series("inflight_scheduled_requests")),
        waiting=Curve.of(samples.series("inflight_waiting_requests")),
        timeline=timeline(samples, requests),
        transports=transports(events),
        gpu_health=gpu_health(samples),
        not_told=_not_told(events),
        counting=counting,
        echoed=int((requests.echoed_tokens > 0).sum()),
        stale_pages=stale_pages,
        missing_metrics=missing_metrics,
        tokens_beyond_ours=_tokens_beyond_ours(samples, recorded, scenario),
        reads_metrics="triton_metrics" in (_data_of(events, "telemetry_finished") or {}).get("sources", ("triton_metrics",)),
        page_fault=page_fault(events),
        context_limits=context_limits(events, requests, samples, facts),
        reloads=reloads(events, requests, samples),
        kv_pressures=pressures,
        kv_capacity=kv_capacity(pressures),
        cancellations=_cancellations(stages, requests, residency, samples, facts, scenario),
        cancel_controls=cancel_controls(stages, by_stage(requests), scenario, facts, cpu_count),
        cached_stages=_cached(directory, stages, requests, samples),
        server_fault=(_data_of(events, "server_fault") or {}).get("cause"),
    )


def _not_run(stages: Sequence[StageResult], requests: Requests, events: Sequence[Event], scenario: Scenario) -> tuple[NotRun, ...]:
    """The stages of the scenario that have no measured phase."""
    opened = {stage.span.name for stage in stages}
    why = str((_data_of(events, "load_stopped") or {}).get("why", ""))
    left = {stage.label: requests.stage(stage.label) for stage in scenario.load if stage.label not in opened}
    return tuple(NotRun(name, why, conservation(planned, len(planned))) for name, planned in left.items())


def _tokens_beyond_ours(samples: Samples, requests: Requests, scenario: Scenario) -> int | None:
    """None with hot reload: a model that is replaced takes its last counts with it."""
    return None if scenario.hot_reload else tokens_beyond_ours(samples, requests, 2 * scenario.telemetry.interval_ms * _NS_PER_MS)


def curve_stages(stages: Sequence[StageResult]) -> list[StageResult]:
    """The stages that are points of throughput against users."""
    return [stage for stage in stages if stage.is_closed_loop and stage.held_level and stage.supports_rates]


def throughput_curve(stages: Sequence[StageResult]) -> list[tuple[float, float]]:
    """(users, `main_rate`) of the closed-loop stages that held one level and whose rates hold."""
    ran = curve_stages(stages)
    return [(s.level, rate) for s in ran if (rate := main_rate(s.throughput))]


def _data_of(events: Sequence[Event], kind: str) -> dict[str, Any] | None:
    return next((event.data for event in events if event.kind == kind), None)


def _state(events: Sequence[Event], has_stages: bool) -> Literal["finished", "broken_off", "never_ready"]:
    kinds = {event.kind for event in events}
    if not has_stages and "server_ready" not in kinds:
        return "never_ready"
    return "finished" if "deployment_finished" in kinds else "broken_off"


def _pressures(stages: Sequence[StageResult], requests: Requests, samples: Samples, facts: DeploymentFacts) -> tuple[KvPressure, ...]:
    found = []
    for stage in stages:
        span, users = stage.span, stage.level if stage.is_closed_loop and stage.held_level else None
        pressure = kv_pressure(span.name, users, requests.stage(span.name), samples, span.start_ns, span.end_ns, facts.may_cache_prefixes)
        if pressure:
            found.append(pressure)
    return tuple(found)


def _cached(directory: DeploymentDirectory, stages: Sequence[StageResult], requests: Requests, samples: Samples) -> tuple[CachedStage, ...]:
    """The plan is read only where a cache was asked."""
    if not len(samples.series("response_cache_miss_count")[0]):
        return ()
    repeats = find_repeats(requests, read_prompts(directory.plan_jsonl, directory.losses))
    spans = [stage.span for stage in stages]
    found = (cached_stage(span.name, span.start_ns, span.end_ns, requests, repeats, samples) for span in spans)
    return tuple(stage for stage in found if stage)


def page_fault(events: Sequence[Event]) -> str:
    """Why most readings of the metrics page failed; "" where they did not, or nobody asked for the page."""
    tally = (_data_of(events, "telemetry_finished") or {}).get("sources", {}).get("triton_metrics", {})
    failed = tally.get("failures", 0) >= max(tally.get("readings", 1), 1)
    return shown(str(tally.get("last_error") or "no answer")) if failed else ""


def _not_told(events: Sequence[Event]) -> tuple[str, ...]:
    """The sampler's notes, by source."""
    sources = (_data_of(events, "telemetry_finished") or {}).get("sources", {})
    return tuple(tally["note"] for tally in sources.values() if tally.get("note"))


def _cancellations(
    stages: Sequence[StageResult],
    requests: Requests,
    residency: Residency,
    samples: Samples,
    facts: DeploymentFacts,
    scenario: Scenario,
) -> tuple[Cancellation, ...]:
    interval_ns = scenario.telemetry.interval_ms * _NS_PER_MS
    lengths_s = {stage.label: stage.duration_s for stage in scenario.load}
    found = (
        cancellation(name, requests.stage(name), requests, residency, samples, interval_ns, lengths_s.get(name), facts)
        for name in (stage.span.name for stage in stages)
    )
    return tuple(audit for audit in found if audit)


def _blocks_left(
    samples: Samples, stages: Sequence[StageResult], requests: Requests, facts: DeploymentFacts, interval_ns: int
) -> int | None:
    """None also where a gauge stands still while the engine idles (TensorRT-LLM), or may count cached blocks.

    Gauges lag behind the last answer, so the reading must be two sampling intervals younger. A server of the run's own had no blocks
    in use before its first reading.
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
