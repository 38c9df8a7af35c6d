"""Findings on what computes: the engine's CPU threads and the GPUs, saturated, slowed down, or waiting for work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.workers import busiest
from trtbench.analysis.verdict.client_validity import CLIENT_CORES_SUSPECT, LOOP_LAG_SUSPECT_NS
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings.queueing import requests_wait
from trtbench.analysis.verdict.findings.rule import Case

SATURATED_RATIO = 0.9
STARVED_RATIO = 0.7
"""GPU utilization below which a GPU waits for work although requests wait for it."""
_THROTTLED_RATIO, _LIMITING_RATIO = 0.01, 0.1
_COPIES_RATIO = 0.25
_REST_RATIO = 0.3

Feeding = Literal["client", "copies", "cpu", "network", "unknown"]
"""What a GPU that has too little to do waits for."""


def cpu_saturated(case: Case, stage: StageResult) -> Finding | None:
    """The server keeps 90 % of the engine's CPU threads busy. By default an engine has all cores but one."""
    facts, cores = case.result.facts, stage.resources.server_cpu_cores
    if not facts.traits.takes_cpu_threads or facts.mode != "own" or cores is None:
        return None
    threads = min(facts.engines * (facts.inference_threads or max(case.cpu_count - 1, 1)), case.cpu_count)
    if cores.mean < SATURATED_RATIO * threads:
        return None
    machine = stage.resources.machine_cpu_ratio
    figures: dict[str, float | str] = {
        "server_cpu_cores": cores.mean,
        "threads": threads,
        "cpu_count": case.cpu_count,
        "machine_cpu_ratio": machine.mean if machine else "-",
    }
    return Finding("cpu_saturated", "info", limits=True, figures=figures)


def gpu_saturated(case: Case, stage: StageResult) -> Finding | None:
    """The mean utilization of a GPU is 90 % or more."""
    busy = busiest_gpu(stage)
    if busy is None or busy[1] < SATURATED_RATIO:
        return None
    return Finding("gpu_saturated", "info", limits=True, figures={"gpu": busy[0], "gpu_utilization_ratio": busy[1]})


def gpu_partly_used(case: Case) -> Iterator[Finding]:
    """The busiest stage of the deployment uses its GPU for 70 to 90 % of the time: neither saturated nor short of work."""
    used = [(busy[1], busy[0], stage) for stage in case.result.stages if (busy := busiest_gpu(stage))]
    if not used:
        return
    ratio, label, stage = max(used, key=lambda one: one[0])
    if STARVED_RATIO <= ratio < SATURATED_RATIO:
        figures: dict[str, float | str] = {"gpu": label, "gpu_utilization_ratio": ratio}
        yield Finding("gpu_partly_used", "info", case.result.name, stage.span.name, figures=figures)


def gpu_starved(case: Case, stage: StageResult) -> Finding | None:
    """Requests wait although every GPU is idle for over 30 % of the time, and neither the KV cache nor the running batch is full."""
    busy = busiest_gpu(stage)
    if busy is None or busy[1] >= STARVED_RATIO or not requests_wait(case, stage):
        return None
    cores, machine, batch = stage.resources.server_cpu_cores, stage.resources.machine_cpu_ratio, stage.triton_batching
    rest = _rest_ratio(stage)
    figures: dict[str, float | str] = {
        "gpu": busy[0],
        "gpu_utilization_ratio": busy[1],
        "copy_ratio": "-" if batch is None or batch.copy_ratio is None else batch.copy_ratio,
        "server_cpu_cores": cores.mean if cores else "-",
        "machine_cpu_ratio": machine.mean if machine else "-",
        "rest_ratio": "-" if rest is None else rest,
    }
    return Finding(f"starved_{feeding(stage)}", "warning", limits=True, figures=figures)


def feeding(stage: StageResult) -> Feeding:
    """What the GPU of a stage waits for, by the first sign that is present."""
    worker, lag_ns = busiest(stage.resources.client_workers), stage.resources.client_loop_lag_p50_ns
    batch, machine, rest = stage.triton_batching, stage.resources.machine_cpu_ratio, _rest_ratio(stage)
    if (worker and worker[1] > CLIENT_CORES_SUSPECT) or (lag_ns or 0) > LOOP_LAG_SUSPECT_NS:
        return "client"
    if batch and batch.copy_ratio is not None and batch.copy_ratio >= _COPIES_RATIO:
        return "copies"
    if machine and machine.mean >= SATURATED_RATIO:
        return "cpu"
    return "network" if rest is not None and rest >= _REST_RATIO else "unknown"


def gpu_throttled(case: Case, stage: StageResult) -> Finding | None:
    """Over 1 % of readings had a GPU clock lowered by heat, power or the hardware; it limits throughput from 10 % on."""
    reasons = [(share, why, gpu) for gpu, use in stage.resources.gpus.items() for why, share in use.throttle_ratios.items()]
    share, why, gpu = max(reasons, default=(0.0, "", ""))
    if share <= _THROTTLED_RATIO:
        return None
    clock = stage.resources.gpus[gpu].sm_clock_mhz
    figures: dict[str, float | str] = {"gpu": gpu, "share_ratio": share, "throttle": why, "mhz": f"{clock.mean:.0f}" if clock else "-"}
    return Finding("gpu_throttled", "warning", limits=share >= _LIMITING_RATIO, figures=figures)


def busiest_gpu(stage: StageResult) -> tuple[str, float] | None:
    """(Index, mean utilization) of the GPU that is used most; None without a reading of any."""
    used = [(gpu.utilization_ratio.mean, label) for label, gpu in stage.resources.gpus.items() if gpu.utilization_ratio]
    ratio, label = max(used, default=(0.0, ""))
    return (label, ratio) if used else None


def _rest_ratio(stage: StageResult) -> float | None:
    """The share of the mean latency that neither the client nor the server's own times account for."""
    parts = stage.waterfall
    return parts.rest_ns / parts.total_ns if parts and parts.total_ns else None
