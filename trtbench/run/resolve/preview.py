"""The actions and needs of a run, before anything is spent: stages, request counts, duration, KV feasibility and GPU memory.

The estimate of a build's memory is an upper bound (engine/tensorrt_llm/build_plan.py), that of a server a lower bound: weights and KV
cache without activations and the memory of the runtime, which only the log of the loaded server reports.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from trtbench.engine.spec import EngineForecast, ModelFacts
from trtbench.experiments.registry import roles
from trtbench.plan.arrivals import RateProfile, mean_rate
from trtbench.plan.phases import rate_profile
from trtbench.plan.plan_size import PlanSize, plan_size
from trtbench.plan.sources.trace import read_trace, trace_offsets
from trtbench.run.resolve.deployment_checks import Devices
from trtbench.run.resolve.experiment_preparation import ExperimentPreparation
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.tensorrt_llm import LlmApi, TensorRtLlm
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.workload import Workload, expected_hit_ratio
from trtbench.serving.repository.model_repository import KvBudget
from trtbench.system.clock import NS_PER_S
from trtbench.system.cuda import CudaGpu, visible_gpus
from trtbench.system.memory import memory_bounds
from trtbench.tasks.registry import TASKS


@dataclass(frozen=True)
class StagePreview:
    """A stage before the run. `level` is that of Stage, for a trace its mean rate. `requests` is None if only time bounds them, and an
    expected value if they are drawn.

    `estimated`: the duration is based on one of the assumed rates.
    """

    label: str
    mode: str
    level: float
    warmup_requests: int
    requests: int | None
    duration_s: float
    estimated: bool


@dataclass(frozen=True)
class KvPreview:
    """The KV cache before the run. `concurrent_requests`: how many of the longest requests of the workload fit at once.

    Figures based on the number of blocks are None if the server takes a share of the GPU's free memory.
    """

    deployment: str
    blocks: int | None
    bytes: int | None
    blocks_per_request: int
    concurrent_requests: int | None
    max_sequences: int


@dataclass(frozen=True)
class Preview:
    """The preview of a run. Stages are run on each of `runs` (deployment-engine pairs). `loads`: the stages of every cell whose load
    differs from the first one's.

    `size`: that of the largest plan. `prefix_hit_ratios`: by stage, the share of input tokens that an ideal prefix cache finds; empty if
    the design does not determine it.
    """

    stages: tuple[StagePreview, ...]
    kv: tuple[KvPreview, ...]
    runs: tuple[str, ...]
    prefix_hit_ratios: dict[str, float]
    loads: dict[str, tuple[StagePreview, ...]]
    duration_s: float
    size: PlanSize

    @property
    def requests(self) -> int:
        """Known requests of one run, without those of stages that only time bounds."""
        return sum(stage.requests or 0 for stage in self.stages)


def preview(scenario: Scenario, budgets: Mapping[str, KvBudget]) -> Preview:
    """The preview of a scenario. `budgets`: the KV cache of each deployment, from the preflight; empty for an external server."""
    kv = tuple(
        KvPreview(
            name,
            budget.blocks,
            budget.bytes,
            budget.blocks_per_request,
            None if budget.blocks is None else budget.blocks // budget.blocks_per_request,
            scenario.deployments[name].scheduler.max_sequences,
        )
        for name, budget in budgets.items()
    )
    runs = tuple(f"{name}-{dtype}" for name in scenario.deployments for dtype in scenario.engines)
    request_s = _seconds_per_request(scenario)
    cells = {scenario.rounds.cell_of(name) if scenario.rounds else name: scenario.load_of(name) for name in scenario.deployments}
    shown = {load: tuple(_stage(stage, request_s) for stage in load) for load in dict.fromkeys(cells.values())}
    first = next(iter(shown))
    stages, duration_s = shown[first], len(runs) / len(cells) * sum(stage.duration_s for load in cells.values() for stage in shown[load])
    hits = {stage.label: _hit_ratio(stage, foreseen.requests, scenario.workload) for stage, foreseen in zip(first, stages, strict=True)}
    size = max((plan_size(scenario, load) for load in shown), key=lambda one: one.memory_bytes)
    known_hits = {label: ratio for label, ratio in hits.items() if ratio is not None and TASKS[scenario.task].has_kv_cache}
    return Preview(stages, kv, runs, known_hits, {cell: shown[load] for cell, load in cells.items() if load != first}, duration_s, size)


def _hit_ratio(stage: Stage, requests: int | None, workload: Workload) -> float | None:
    """The hit ratio that the drawn prompts allow, each used once; None for a trace, which has its own prompts, and for a repeated stage."""
    prompts = stage.requests or min(requests or workload.distinct_prompts, workload.distinct_prompts)
    return None if stage.trace or stage.same_as else expected_hit_ratio(workload, prompts)


def _seconds_per_request(scenario: Scenario) -> float:
    """The assumed work of one request in seconds; the requests of all users share it."""
    work = scenario.workload
    return TASKS[scenario.task].assumed_request_s(work.expected_input_tokens, work.expected_output_tokens)


def _stage(stage: Stage, request_s: float) -> StagePreview:
    if stage.trace is not None:
        offsets = trace_offsets(
            read_trace(stage.trace, stage.trace_block_tokens, stage.trace_format), stage.speed, stage.requests, stage.duration_s
        )
        lasts_s = int(offsets[-1]) / NS_PER_S
        return StagePreview(stage.label, stage.mode, mean_rate(offsets), stage.warmup_requests, len(offsets), lasts_s, False)
    closed = stage.mode == "concurrency"
    by_count_s = math.inf
    if stage.requests is not None:
        by_count_s = _closed_s(stage, request_s) if closed else float(_rates(stage).instants_s(np.array([stage.requests], float))[0])
    requests, duration_s = stage.requests, by_count_s
    if stage.duration_s is not None and stage.duration_s < by_count_s:
        duration_s = stage.duration_s
        requests = stage.requests if closed else round(_rates(stage).expected(duration_s))
    estimated = closed and duration_s == by_count_s
    return StagePreview(stage.label, stage.mode, stage.level, stage.warmup_requests, requests, duration_s, estimated)


def _rates(stage: Stage) -> RateProfile:
    """The rates of an open loop; bursts count with their mean rate."""
    return RateProfile.steady(stage.level) if stage.mode == "burst" else rate_profile(stage)


def _closed_s(stage: Stage, request_s: float) -> float:
    """The duration of a closed loop: the work of all its requests and the pauses of one user."""
    think_s = stage.think_s.mean / stage.level if stage.think_s else 0.0
    return (stage.requests or 0) * (request_s + think_s)


_SHARE_RATIO = 0.9  # kv_cache_free_gpu_mem_fraction and free_gpu_memory_fraction where nobody sets them


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes on one GPU, for one rank, unless `what` states otherwise; None: unknown, or not applicable.

    `kv_tokens`: the requested number, or for a share of the free memory the largest possible number. `needed_bytes` includes, for a
    share, the KV cache of one request.
    """

    what: str
    weights_bytes: int | None
    kv_bytes_per_token: int | None
    kv_tokens: int | None
    needed_bytes: int | None
    free_bytes: int | None

    @property
    def missing_bytes(self) -> int | None:
        return None if self.needed_bytes is None or self.free_bytes is None else max(0, self.needed_bytes - self.free_bytes)


def build_needs(dtype: Dtype, forecast: EngineForecast) -> Iterator[MemoryNeed]:
    """GPU memory that a build needs; empty for an engine that is not built on a GPU."""
    need = forecast.build
    if need is None:
        return
    free = [gpu.free_bytes for gpu in visible_gpus()]
    host_free = min(bound.available_bytes for bound in memory_bounds())
    yield MemoryNeed(f"build {dtype}", need.weights_bytes // forecast.ranks, None, None, need.gpu_bytes, max(free, default=None))
    yield MemoryNeed(f"build {dtype}, host", need.weights_bytes, None, None, need.host_bytes, host_free)
    if need.calibration_bytes:
        yield MemoryNeed(f"calibrate {dtype}, all GPUs", None, None, None, need.calibration_bytes, sum(free) if free else None)


def serving_needs(
    scenario: Scenario, forecasts: Mapping[Dtype, EngineForecast], facts: ModelFacts, budgets: Mapping[str, KvBudget], devices: Devices
) -> Iterator[MemoryNeed]:
    """GPU memory that serving needs, for each deployment on each engine."""
    for name, budget in budgets.items():
        for dtype in scenario.engines:
            yield _served(f"serve {name}-{dtype}", scenario, scenario.deployments[name], forecasts[dtype], facts, budget, devices)


def _served(
    what: str,
    scenario: Scenario,
    deployment: Deployment,
    forecast: EngineForecast,
    facts: ModelFacts,
    budget: KvBudget,
    devices: Devices,
) -> MemoryNeed:
    tp, pp, weights = forecast.tp, forecast.pp, forecast.rank_bytes
    rank = replace(facts, layers=ceil(facts.layers / pp), kv_heads=ceil(facts.kv_heads / tp))
    kv_dtype = forecast.kv_dtype or ("fp16" if deployment.kv_cache.dtype == "auto" else deployment.kv_cache.dtype)
    per_token, free = rank.kv_bytes_per_token(kv_dtype), _free(deployment, tp * pp, devices)
    asked = _asked_tokens(deployment, budget, facts.kv_bytes_per_token(kv_dtype))
    engines = math.prod(experiment.engines_at_once(scenario) for experiment in roles(ExperimentPreparation))
    copies = engines * (1 if deployment.replicas.gpus else deployment.replicas.count)
    least = asked or budget.blocks_per_request * budget.block_tokens
    needed = None if weights is None else copies * (weights + least * per_token)
    if asked is None and weights is not None and free is not None:
        asked = int(_share(deployment) * max(0, free - weights) // per_token)
    return MemoryNeed(f"{what} x {copies}" if copies > 1 else what, weights, per_token, asked, needed, free)


def _asked_tokens(deployment: Deployment, budget: KvBudget, bytes_per_token: int) -> int | None:
    """The tokens that the KV cache is set to hold, or None if the server takes a share of the free memory."""
    if deployment.kv_cache.bytes:
        return deployment.kv_cache.bytes // bytes_per_token
    return budget.tokens or (deployment.tensorrt_llm or TensorRtLlm()).parameters.max_tokens_in_paged_kv_cache


def _share(deployment: Deployment) -> float:
    engine, llm = deployment.tensorrt_llm or TensorRtLlm(), deployment.llmapi or LlmApi()
    return engine.parameters.kv_cache_free_gpu_mem_fraction or llm.free_gpu_memory_fraction or _SHARE_RATIO


def _free(deployment: Deployment, ranks: int, devices: Devices) -> int | None:
    """Free memory of the fullest GPU that the servers use. For a GPU in MIG mode, CUDA reports the memory of the instance."""
    visible = visible_gpus()
    wanted = {devices[gpu].partition("-")[2] for gpu in deployment.replicas.gpus}
    ids = deployment.tensorrt_llm.parameters.gpu_device_ids if deployment.tensorrt_llm else ()
    used: list[CudaGpu] = [gpu for gpu in visible if gpu.uuid in wanted] if wanted else [visible[i] for i in ids if i < len(visible)]
    return min((gpu.free_bytes for gpu in used or visible[:ranks]), default=None)
