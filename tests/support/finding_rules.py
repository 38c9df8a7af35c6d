"""Runs all rules over a synthetic run whose stages or facts are changed, so that a test plants the signs of one rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.engine_metrics import ReuseByRequest
from trtbench.analysis.stage.littles_law import LittlesLaw, Why
from trtbench.analysis.stage.resources import GpuUse
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.workers import Worker
from trtbench.analysis.stats.trends import Drift
from trtbench.analysis.stats.usl import UserLaw, fit_user_law
from trtbench.analysis.stats.window import Level
from trtbench.analysis.summary import Summary
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings.rules import deployment_findings
from trtbench.scenario.load.measurement import Slo

Change = Callable[[StageResult], StageResult]


def level(value: float) -> Level:
    return Level(value, value, value)


def found(summary: Summary, change: Change, **facts: object) -> dict[str, Finding]:
    """Findings on the INT8 deployment with every stage changed."""
    result = summary.deployments[1]
    changed: DeploymentResult = replace(
        result,
        stages=tuple(change(stage) for stage in result.stages),
        facts=replace(result.facts, **facts),  # type: ignore[arg-type]
    )
    return {finding.code: finding for finding in deployment_findings(changed, summary.scenario, summary.environment.cpu_count)}


def resources(**levels: object) -> Change:
    return lambda stage: replace(stage, resources=replace(stage.resources, **levels))  # type: ignore[arg-type]


def same(stage: StageResult) -> StageResult:
    return stage


def gpu_used(used: float, **throttles: float) -> GpuUse:
    return GpuUse(level(used), None, None, level(1400), None, None, throttles)


def queued(used: float, *, copies: float = 0.1, machine: float = 0.2, worker: float = 0.1, **batch: object) -> Change:
    """A GPU used for `used` of the time while a request waits on average, with a running batch and a KV cache that have room."""

    def change(stage: StageResult) -> StageResult:
        assert stage.inflight and stage.kv_cache and stage.triton_batching
        use = replace(
            stage.resources,
            gpus={"0": gpu_used(used)},
            machine_cpu_ratio=level(machine),
            client_workers={"0": Worker(level(worker), None, None, None)},
            client_loop_lag_p50_ns=0,
        )
        return replace(
            stage,
            resources=use,
            inflight=replace(stage.inflight, **({"running": level(2), "waiting": level(3)} | batch)),  # type: ignore[arg-type]
            kv_cache=replace(stage.kv_cache, used_ratio_peak=0.3),
            triton_batching=replace(stage.triton_batching, copy_ratio=copies),
        )

    return change


def reusing(**ratios: float) -> Change:
    """Stages with these shares of prompt blocks that were found in the prefix cache."""

    def change(stage: StageResult) -> StageResult:
        ratio = ratios.get(stage.span.name)
        return replace(stage, reuse=None if ratio is None else ReuseByRequest(100, 10, 10, "missed", ratio))

    return change


def slower_at_8(queue_ns: int, paused: float = 0, peak: float = 0.3, faults: float = 0) -> Change:
    """A mean latency of 1 s, and of 3 s at 8 users, where requests spend `queue_ns` in Triton's queue."""

    def change(stage: StageResult) -> StageResult:
        assert stage.triton_batching and stage.inflight and stage.kv_cache
        last = stage.span.name == "c8"
        latency = stage.latency
        of_server = {name: replace(latency.ttft_ns, mean=None) for name in ("server_queue_ns", "server_prefill_ns", "server_decode_ns")}
        whole = replace(latency.e2e_latency_ns, mean=3_000_000_000 if last else 1_000_000_000)
        use = replace(stage.resources, server_major_faults_per_s=faults if last else 0.0)
        return replace(
            stage,
            latency=replace(latency, e2e_latency_ns=whole, **of_server),
            engine_times=None,
            triton_batching=replace(stage.triton_batching, queue_mean_ns=queue_ns if last else 0),
            inflight=replace(stage.inflight, paused=level(paused if last else 0)),
            kv_cache=replace(stage.kv_cache, used_ratio_peak=peak if last else 0.1),
            resources=use,
        )

    return change


def batching(hit: float, running: float | None = None, **batch: object) -> Change:
    def change(stage: StageResult) -> StageResult:
        assert stage.triton_batching and stage.inflight
        triton = replace(stage.triton_batching, batch_hit_ratio=hit, executions=100, **batch)  # type: ignore[arg-type]
        return replace(stage, triton_batching=triton, inflight=None if running is None else replace(stage.inflight, mean_batch=running))

    return change


def every_planted(summary: Summary) -> Iterator[Finding]:
    """The findings of every cause that this module plants, so that a test can print them all."""
    slow = replace(summary, scenario=summary.scenario.model_copy(update={"slo": Slo(ttft_ms=100)}))
    delay = {"dynamic_batching": {"max_queue_delay_us": 50_000}}
    for change in (queued(0.5), queued(0.5, copies=0.4), queued(0.5, machine=0.95), queued(0.5, worker=0.95), far_away, queued(0.8)):
        yield from found(summary, change, max_sequences=32).values()
    for change in (slower_at_8(2_000_000_000), slower_at_8(0, paused=3), slower_at_8(0, faults=500), reusing(c1=0.1, c4=0.6)):
        yield from found(summary, change, prefix_caching=True).values()
    for hit, running in ((0.0, None), (0.0, 6.0)):
        for facts in (delay, {"dynamic_batching": {"max_queue_delay_us": 0}}):
            yield from found(summary, batching(hit, running), **facts).values()
    yield from found(slow, lambda stage: batching(0.9, queue_mean_ns=45_000_000)(first_answers_late(stage)), **delay).values()
    yield from found(summary, idle_behind_a_queue, instances=1, servers=1).values()
    yield from found(summary, in_one_response(0.99)).values()
    for why in ("failures", "growth", "idle", "unknown"):
        yield from found(summary, not_lawful(why)).values()
    for series in ("error_ratio", "first_answer_ns"):
        yield from found(summary, growing(series)).values()
    peaked = replace(summary.deployments[1], echoed=7, user_law=law_of_users(0.05, 0.002))
    yield from deployment_findings(peaked, summary.scenario, 2)


def not_lawful(why: Why) -> Change:
    law = LittlesLaw(8.0, 10.0, 5e8, 0.0, 5.0, 3.0, 0.5, why)
    return lambda stage: replace(stage, littles_law=law)


def growing(series: str, low: float = 0.01, late: float = 0.02, start: float = 0.02) -> Change:
    """A series that grows by its start in an hour."""
    drift = Drift(start, late, start, 3600.0, 1.0, low, 2 * start)
    return lambda stage: replace(stage, drifts={series: drift})


def law_of_users(contention: float, coherency: float, levels: Sequence[int] = (1, 2, 4, 8, 16, 32)) -> UserLaw | None:
    return fit_user_law([(n, 100 * n / (1 + contention * (n - 1) + coherency * n * (n - 1))) for n in levels])


def far_away(stage: StageResult) -> StageResult:
    """A GPU with too little to do whose server accounts for next to nothing of the latency."""
    parts = {name: replace(stage.latency.ttft_ns, mean=1_000) for name in ("server_queue_ns", "server_prefill_ns", "server_decode_ns")}
    return replace(queued(0.5)(stage), latency=replace(stage.latency, **parts))


def first_answers_late(stage: StageResult) -> StageResult:
    """A P99 of TTFT of 120 ms."""
    return replace(stage, latency=replace(stage.latency, ttft_ns=replace(stage.latency.ttft_ns, p99=120_000_000)))


def idle_behind_a_queue(stage: StageResult, used: float = 0.4, queue_ns: int = 9) -> StageResult:
    changed = replace(stage, resources=replace(stage.resources, gpus={"0": gpu_used(used)}))
    return batching(0.5, queue_mean_ns=queue_ns, compute_mean_ns=3)(changed)


def in_one_response(first_ratio: float, gaps: int = 0, tokens: float = 32.0) -> Change:
    """Answers of `tokens` tokens whose first comes after `first_ratio` of their latency."""

    def change(stage: StageResult) -> StageResult:
        latency = stage.latency
        assert latency.e2e_latency_ns.mean
        first = replace(latency.ttft_ns, mean=first_ratio * latency.e2e_latency_ns.mean)
        changed = replace(latency, ttft_ns=first, itl_ns=replace(latency.itl_ns, count=gaps))
        return replace(stage, latency=changed, output_tokens=replace(stage.output_tokens, mean=tokens))

    return change
