"""The resources that explain why a larger deployment does not scale: those that are exhausted at a point, or fuller than at the first
point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.kv_cache import NEAR_FULL_RATIO
from trtbench.analysis.stage.resources import imbalance
from trtbench.analysis.stage.stage_result import StageResult, is_disturbed
from trtbench.analysis.stage.workers import busiest
from trtbench.analysis.verdict.client_validity import CLIENT_CORES_SUSPECT

FULL_RATIO = 0.9
UNEVEN_FACTOR = 1.1
"""Requests of the busiest server divided by an equal share, above which the balance is named as a cause."""
_THINNER_RATIO = 0.8

Limiter = Literal["foreign", "client", "balancer", "machine_cpu", "gpu", "imbalance", "kv", "sequences", "thin", "threads", "unknown"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Resource use at one point, as means over its repeats; None if not read in each repeat. Values per engine are per instance of a
    server.
    """

    server_cpu_cores: float | None
    client_cpu_cores: float | None
    balancer_cpu_cores: float | None
    machine_cpu_ratio: float | None
    gpu_ratio: float | None  # of the busiest GPU
    kv_peak_ratio: float | None
    running_per_engine: float | None
    imbalance_factor: float | None  # requests of the busiest server over an even share
    thread_ratio: float | None  # server CPU over the engines' threads
    client_busiest_cores: float | None
    waiting: float | None
    at_limit: bool  # the running batch came to its limit, in every repeat
    disturbed: bool  # other programs took cores, in any repeat
    kv_holds_all_sequences: bool = False  # so a full KV cache limits nothing


Measured = tuple[DeploymentResult, StageResult]


def usage(measured: Sequence[Measured], cpu_count: int) -> Usage:
    """The use of resources at one point, over a stage in each of its repeats."""
    every = [_one(result, stage, cpu_count) for result, stage in measured]

    def mean(name: str) -> float | None:
        values = [value for one in every if (value := getattr(one, name)) is not None]
        return sum(values) / len(values) if values and len(values) == len(every) else None

    numbers = [name for name in Usage.__dataclass_fields__ if name not in ("at_limit", "disturbed", "kv_holds_all_sequences")]
    at_limit, disturbed = bool(every) and all(one.at_limit for one in every), any(one.disturbed for one in every)
    holds_all = bool(every) and all(one.kv_holds_all_sequences for one in every)
    return Usage(**{name: mean(name) for name in numbers}, at_limit=at_limit, disturbed=disturbed, kv_holds_all_sequences=holds_all)


def _one(result: DeploymentResult, stage: StageResult, cpu_count: int) -> Usage:
    use, facts, batch = stage.resources, result.facts, stage.inflight
    server, gpus = use.server_cpu_cores, [gpu.utilization_ratio.mean for gpu in use.gpus.values() if gpu.utilization_ratio]
    threads = facts.engines * (facts.inference_threads or max(cpu_count - 1, 1)) if facts.traits.takes_cpu_threads else None
    client = busiest(use.client_workers)
    limit = facts.max_sequences * facts.engines if facts.max_sequences else batch.limit if batch else None
    return Usage(
        server_cpu_cores=server.mean if server else None,
        client_cpu_cores=use.client_cpu_cores.mean if use.client_cpu_cores else None,
        balancer_cpu_cores=use.balancer_cpu_cores.mean if use.balancer_cpu_cores else None,
        machine_cpu_ratio=use.machine_cpu_ratio.mean if use.machine_cpu_ratio else None,
        gpu_ratio=max(gpus) if gpus else None,
        kv_peak_ratio=stage.kv_cache.used_ratio_peak if stage.kv_cache else None,
        running_per_engine=batch.running.mean / facts.engines if batch else None,
        imbalance_factor=imbalance(use.replicas),
        thread_ratio=server.mean / threads if server and threads else None,
        client_busiest_cores=client[1] if client else None,
        waiting=batch.waiting.mean if batch and batch.waiting else None,
        at_limit=bool(batch and limit and batch.running.max >= limit),
        disturbed=is_disturbed(stage, cpu_count),
        kv_holds_all_sequences=facts.kv_holds_all_sequences,
    )


def limiters(at: Usage, first: Usage, cpu_count: int) -> tuple[Limiter, ...]:
    """The resources that explain a low efficiency at a point, those shared by all units first. `first` is the smallest point.

    A resource that each unit has for itself (its KV cache, its running batch) explains a loss only if the smallest point was not limited
    by it. Busy threads are normal at the smallest point too, and are named only if nothing else is: each thread then does less than it
    did there.
    """
    found: list[Limiter] = [name for name, holds in _shared(at, cpu_count).items() if holds]
    before = _own(first, first)
    found += [name for name, holds in _own(at, first).items() if holds and not before[name]]
    if found:
        return tuple(found)
    return ("threads",) if (at.thread_ratio or 0) >= FULL_RATIO else ("unknown",)


def is_filled(first: Usage) -> bool | None:
    """Whether its load saturates the smallest point, so that there is a limit to multiply: threads or a GPU are busy, or requests wait.

    None if neither CPU threads nor a GPU were read, or if other processes used its cores.
    """
    if first.at_limit and (first.waiting or 0) >= 1:
        return True
    busy = [ratio for ratio in (first.thread_ratio, first.gpu_ratio) if ratio is not None]
    return None if not busy or first.disturbed else max(busy) >= FULL_RATIO


def _shared(at: Usage, cpu_count: int) -> dict[Limiter, bool]:
    return {
        "foreign": at.disturbed,
        "client": (at.client_busiest_cores or 0) > CLIENT_CORES_SUSPECT,
        "balancer": (at.balancer_cpu_cores or 0) >= FULL_RATIO * cpu_count,
        "machine_cpu": (at.machine_cpu_ratio or 0) >= FULL_RATIO,
        "gpu": (at.gpu_ratio or 0) >= FULL_RATIO,
        "imbalance": (at.imbalance_factor or 1) > UNEVEN_FACTOR,
    }


def _own(at: Usage, first: Usage) -> dict[Limiter, bool]:
    running, before = at.running_per_engine, first.running_per_engine
    full = (at.kv_peak_ratio or 0) >= NEAR_FULL_RATIO and not at.kv_holds_all_sequences
    return {
        "kv": full,
        "sequences": at.at_limit and not full and (at.waiting or 0) >= 1,
        "thin": running is not None and before is not None and running < _THINNER_RATIO * before,
    }
