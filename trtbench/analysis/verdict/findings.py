"""The rules that derive findings from one deployment's figures.

A rule yields a finding only from figures that exist and are supported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from trtbench.analysis.deployment_result import DeploymentResult, curve_stages
from trtbench.analysis.stage.kv_cache import NEAR_FULL_RATIO
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.workers import busiest
from trtbench.analysis.verdict.client_validity import CLIENT_CORES_SUSPECT
from trtbench.analysis.verdict.finding import Finding
from trtbench.rundir.series import unit_of

SATURATED_RATIO = 0.9
_OF_A_PROXY = re.compile("RST_STREAM with|of a stream that had served|HTTP status (408|413|502|503|504) ")
_BATCH_HIT_LOW_RATIO = 0.05
_LEAST_EXECUTIONS = 20
_RATE_KEPT_RATIO = 0.9
_SLO_KEPT_RATIO = 0.99
_CREEP_RATIO = 0.05


def deployment_findings(result: DeploymentResult, cpu_count: int) -> Iterator[Finding]:
    """The findings of all rules about one deployment. A rule about stages yields one finding: of the first stage in which it holds, or of
    the worst.
    """
    yield from _server(result)
    yield from _errors(result)
    yield from _knee(result)
    yield from _first(result, lambda stage: _cpu(result, stage, cpu_count))
    yield from _first(result, _gpu)
    yield from _first(result, lambda stage: _kv_full(result, stage))
    yield from _first(result, lambda stage: _sequences(result, stage))
    yield from _first(result, _client)
    yield from _batcher(result)
    yield from _first(result, _queue)
    yield from _first(result, _rate)
    yield from _slo(result)
    yield from _creep(result)
    if result.server_fault:
        yield Finding("server_fault", "critical", result.name, figures={"cause": result.server_fault})
    if result.kv_blocks_left:
        yield Finding("kv_blocks_leaked", "warning", result.name, figures={"blocks": result.kv_blocks_left})


_Rule = Callable[[StageResult], Finding | None]


def _first(result: DeploymentResult, rule: _Rule) -> Iterator[Finding]:
    for stage in result.stages:
        found = rule(stage)
        if found:
            yield replace(found, deployment=result.name, stage=stage.span.name)
            return


def _server(result: DeploymentResult) -> Iterator[Finding]:
    lost = result.server_lost
    cause = (lost.cause if lost else "") or "-"
    if result.state == "never_ready":
        yield Finding("never_ready", "critical", result.name, figures={"stages": len(result.not_run), "cause": cause})
    elif lost:
        figures = {"exit_code": str(lost.exit_code), "cause": cause}
        yield Finding("server_lost", "critical", result.name, figures=figures)


def _errors(result: DeploymentResult) -> Iterator[Finding]:
    """A finding for each class of errors, of the stage with the most of them."""
    worst: dict[str, tuple[float, StageResult, int]] = {}
    for stage in result.stages:
        equation = stage.conservation
        counts = equation.failed_by_class | ({"timeout": equation.timed_out} if equation.timed_out else {})
        for outcome, count in counts.items():
            share = count / equation.planned if equation.planned else 0.0
            if outcome not in worst or share > worst[outcome][0]:
                worst[outcome] = (share, stage, count)
    for outcome, (share, stage, count) in worst.items():
        figures: dict[str, float | str] = {
            "count": count,
            "planned": stage.conservation.planned,
            "share_ratio": share,
            "message": stage.conservation.messages.get(outcome, ""),
        }
        code = f"errors_{outcome}"
        if _OF_A_PROXY.search(str(figures["message"])):
            code, figures["class"] = "errors_proxy", outcome
        yield Finding(code, "critical" if share > 0.05 else "warning", result.name, stage.span.name, False, figures)


def _knee(result: DeploymentResult) -> Iterator[Finding]:
    knee = result.knee
    if knee is None:
        return
    counted = any(stage.throughput.output_token_throughput is not None for stage in result.stages)
    unit = "tokens" if counted else "requests"
    places = tuple((result.name, stage.span.name) for stage in curve_stages(result.stages))
    last: dict[str, float | str] = {"unit": unit, "top_users": knee.levels[-1], f"top_{unit}_per_s": knee.throughputs[-1]}
    if knee.level is None or knee.throughput is None:
        step = {"last_users": knee.levels[-2], "gain_ratio": knee.throughputs[-1] / knee.throughputs[-2] - 1}
        yield Finding("no_knee", "info", result.name, figures={**last, **step}, rests_on=places)
    else:
        at = {"knee_users": knee.level, f"knee_{unit}_per_s": knee.throughput, "gain_ratio": knee.throughputs[-1] / knee.throughput - 1}
        yield Finding("knee", "info", result.name, limits=True, figures={**last, **at}, rests_on=places)


def _cpu(result: DeploymentResult, stage: StageResult, cpu_count: int) -> Finding | None:
    """CPU engines are bounded by their threads rather than by the machine. By default they have all cores but one."""
    cores = stage.resources.server_cpu_cores
    if not result.facts.traits.takes_cpu_threads or result.facts.mode != "own" or cores is None:
        return None
    threads = min(result.facts.engines * (result.facts.inference_threads or max(cpu_count - 1, 1)), cpu_count)
    if cores.mean < SATURATED_RATIO * threads:
        return None
    machine = stage.resources.machine_cpu_ratio
    return Finding(
        "cpu_saturated",
        "info",
        limits=True,
        figures={
            "server_cpu_cores": cores.mean,
            "threads": threads,
            "cpu_count": cpu_count,
            "machine_cpu_ratio": machine.mean if machine else "-",
        },
    )


def _gpu(stage: StageResult) -> Finding | None:
    for label, gpu in stage.resources.gpus.items():
        if gpu.utilization_ratio and gpu.utilization_ratio.mean >= SATURATED_RATIO:
            return Finding(
                "gpu_saturated", "info", limits=True, figures={"gpu": label, "gpu_utilization_ratio": gpu.utilization_ratio.mean}
            )
    return None


def _kv_full(result: DeploymentResult, stage: StageResult) -> Finding | None:
    cache = stage.kv_cache
    if cache is None or result.facts.kv_holds_all_sequences or cache.used_ratio_peak < NEAR_FULL_RATIO:
        return None
    figures = {"peak_ratio": cache.used_ratio_peak, "near_full_ratio": cache.near_full_ratio, "blocks": cache.blocks_max}
    return Finding("kv_near_full", "warning", limits=True, figures=figures)


def _sequences(result: DeploymentResult, stage: StageResult) -> Finding | None:
    """Requests wait although the KV cache has room: the running batch has reached its own limit."""
    batch, cache = stage.inflight, stage.kv_cache
    limit = result.facts.max_sequences * result.facts.engines if result.facts.max_sequences else batch.limit if batch else None
    if batch is None or batch.waiting is None or not limit or batch.waiting.mean < 1 or batch.running.max < limit:
        return None
    if cache is None or (cache.used_ratio_peak >= NEAR_FULL_RATIO and not result.facts.kv_holds_all_sequences):
        return None
    figures = {"waiting_mean": batch.waiting.mean, "limit": limit, "peak_ratio": cache.used_ratio_peak}
    return Finding("sequences_bound", "warning", limits=True, figures=figures)


def _client(stage: StageResult) -> Finding | None:
    found, lag = busiest(stage.resources.client_workers), stage.resources.client_loop_lag_ns
    if found is None or found[1] <= CLIENT_CORES_SUSPECT:
        return None
    figures: dict[str, float | str] = {"client_cpu_cores": found[1], "worker": found[0] or "0", "loop_lag_ns": lag.max if lag else "-"}
    return Finding("client_bound", "critical", limits=True, figures=figures)


def _batcher(result: DeploymentResult) -> Iterator[Finding]:
    """The finding on Triton's batcher at the highest closed-loop load; none if the model has batches of one request by design."""
    closed, facts = [stage for stage in result.stages if stage.is_closed_loop and stage.level >= 2], result.facts
    if not closed or not facts.dynamic_batching or facts.max_batch_size == 1 or facts.traits.triton_batches_are_one:
        return
    stage = max(closed, key=lambda stage: stage.level)
    triton, inflight = stage.triton_batching, stage.inflight
    if triton is None or triton.batch_hit_ratio is None or triton.executions < _LEAST_EXECUTIONS:
        return
    if triton.batch_hit_ratio < _BATCH_HIT_LOW_RATIO:
        figures: dict[str, float | str] = {
            "batch_hit_ratio": triton.batch_hit_ratio,
            "executions": triton.executions,
            "delay_us": facts.queue_delay_us,
            "inflight_mean": inflight.mean_batch if inflight and inflight.mean_batch is not None else "-",
        }
        yield Finding("never_batches", "info", result.name, stage.span.name, figures=figures)


def _queue(stage: StageResult) -> Finding | None:
    """Requests of an encoder spend more time in Triton's queue than in the model."""
    batch = stage.triton_batching
    if batch is None or batch.compute_mean_ns is None or batch.queue_mean_ns is None or batch.executions < _LEAST_EXECUTIONS:
        return None
    if batch.queue_mean_ns <= batch.compute_mean_ns:
        return None
    figures = {"queue_ns": batch.queue_mean_ns, "compute_ns": batch.compute_mean_ns, "fill_ratio": batch.fill_ratio or 0.0}
    return Finding("queue_bound", "info", limits=True, figures=figures)


def _rate(stage: StageResult) -> Finding | None:
    """An open loop requests more than the server completes: fewer requests are done than became due, and waiting grows."""
    rates = stage.throughput
    if (
        stage.is_closed_loop
        or stage.ramp_from is not None
        or not stage.backlog_grew
        or not rates.offered_rate
        or rates.request_throughput is None
    ):
        return None
    if rates.request_throughput >= _RATE_KEPT_RATIO * rates.offered_rate:
        return None
    figures = {"offered_per_s": rates.offered_rate, "served_per_s": rates.request_throughput}
    return Finding("rate_not_kept", "warning", limits=True, figures=figures)


def _slo(result: DeploymentResult) -> Iterator[Finding]:
    """The highest closed-loop load that kept the SLO, or that none did, judged on all planned requests."""
    judged = [(stage, ratio) for stage in result.stages if (ratio := stage.throughput.goodput_ratio) is not None]
    missed = [(stage, ratio) for stage, ratio in judged if ratio < _SLO_KEPT_RATIO]
    if not missed:
        return
    stage, ratio = min(missed, key=lambda pair: pair[1])
    kept = ", ".join(kept.span.name for kept, good in judged if good >= _SLO_KEPT_RATIO) or "-"
    figures: dict[str, float | str] = {"goodput_ratio": ratio, "kept": kept, "count": len(missed)}
    places = tuple((result.name, stage.span.name) for stage, _ in judged)
    yield Finding("slo_missed", "warning", result.name, stage.span.name, figures=figures, rests_on=places)


def _creep(result: DeploymentResult) -> Iterator[Finding]:
    """Growth during a long stage that continues in its second half. A warm-up flattens out and is not reported."""
    for stage in result.stages:
        for series, drift in stage.drifts.items():
            keeps_on = drift.late_slope_per_hour > 0.5 * drift.slope_per_hour > 0
            if keeps_on and drift.growth_ratio is not None and drift.growth_ratio > _CREEP_RATIO:
                unit = unit_of(series) or "count"
                figures: dict[str, float | str] = {
                    "series": series,
                    "length_s": drift.length_s,
                    "growth_ratio": drift.growth_ratio,
                    f"start_{unit}": drift.start,
                    f"per_hour_{unit}": drift.slope_per_hour,
                }
                yield Finding(f"creep_{unit}", "warning", result.name, stage.span.name, figures=figures)
